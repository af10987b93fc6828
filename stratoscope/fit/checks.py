"""Whether network, data, instruments and checkpoint fit together: tried on a few images, with nothing written."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader

from stratoscope.callbacks.instruments.instrument import Instrument, Planned
from stratoscope.datamodules import Batch, ImageDataModule
from stratoscope.datamodules.augmentation import draws
from stratoscope.errors import Refused
from stratoscope.fit.trainer_check import check_monitors, check_schedule
from stratoscope.models import Classifier
from stratoscope.probes import frozen
from stratoscope.run.checkpoint import WholeFiles, load_checkpoint
from stratoscope.run.checkpoint_contents import check_callbacks, check_restorable


def planned_run(trainer: Trainer, module: LightningModule, data: ImageDataModule, batch: Batch, fits: bool) -> Planned:
    """A run as its instruments see it before it begins.

    Args:
        trainer: The trainer.
        module: The network.
        data: The data, set up.
        batch: A few samples.
        fits: Whether it trains.
    """
    last = trainer.max_epochs
    return Planned(module, batch, data.sets, data.classes, 0 if not fits else last if last and last > 0 else None)


def check_together(trainer: Trainer, module: LightningModule, data: ImageDataModule, command: str) -> list[str]:
    """Look for what would stop a run.

    Args:
        trainer: The trainer.
        module: The network.
        data: The data, set up.
        command: fit, validate, test or predict.

    Returns:
        What is to be said of the run, a line each.

    Raises:
        Refused: If parts do not fit together.
        ValueError: If an instrument cannot measure it.
    """
    fits = command == "fit"
    batch = _try_data(trainer, module, data, command)
    notes = _try_network(trainer, module, data, batch.image, fits) if isinstance(module, Classifier) else []
    planned = planned_run(trainer, module, data, batch, fits)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Instrument):
            notes += callback.refuse(planned)
    if fits:
        check_monitors(trainer, planned)
    return notes


def check_going_on(path: str, trainer: Trainer, module: LightningModule, fits: bool) -> None:
    """Try what a command needs of a checkpoint, beside the weights.

    Args:
        path: The checkpoint.
        trainer: The trainer.
        module: The network.
        fits: Whether training goes on.

    Raises:
        Refused: If it does not fit.
    """
    reader = trainer.strategy.checkpoint_io
    checkpoint = reader.load_checkpoint(path) if isinstance(reader, WholeFiles) else load_checkpoint(path)
    try:
        check_callbacks(checkpoint, trainer)
        if fits:
            optimizers = module.configure_optimizers() if isinstance(module, Classifier) else None
            check_restorable(checkpoint, trainer, optimizers)
    except ValueError as error:
        raise Refused(f"--ckpt_path: {path} cannot be gone on from: {error}") from error


def _try_data(trainer: Trainer, module: LightningModule, data: ImageDataModule, command: str) -> Batch:
    """Read and augment two training images, make all loaders, and return two test samples.

    Raises:
        Refused: If an augmentation does not fit the images, or a batch normalisation the last batch.
    """
    names, train = [type(one).__name__ for one in data.augmentations], data.sets["train"]
    two = torch.arange(min(2, len(train)))
    try:
        train.read(two, draws(data.augmentations, 0, 0, len(two)))
    except ValueError as error:
        raise Refused(f"--data.augmentation {', '.join(names)}: {error}") from error
    _try_loaders(trainer, data, command)
    one_left = command == "fit" and len(train) % data.batch_size == 1
    if one_left and any(isinstance(part, torch.nn.BatchNorm1d) for part in module.modules()):
        raise Refused(
            f"--data.batch_size {data.batch_size} leaves one of {len(train)} samples for the last batch, "
            "which batch normalisation cannot take: choose another"
        )
    test = data.sets["test"]
    samples: Batch = test.__getitems__(range(min(2, len(test))))
    return samples


def _try_loaders(trainer: Trainer, data: ImageDataModule, command: str) -> None:
    """Make the loaders of a command.

    Raises:
        Refused: If there is a share of their batches asked for that is less than one.
    """
    every = trainer.val_check_interval
    if command == "fit" and isinstance(every, int) and trainer.check_val_every_n_epoch is not None:
        batches = _batches(trainer, data)
        if every > batches and trainer.limit_val_batches:
            raise Refused(
                f"--trainer.val_check_interval {every} is more than the {batches} batches of an epoch; to count "
                "over epochs give --trainer.check_val_every_n_epoch null"
            )
    parts = {"fit": ("train", "val"), "validate": ("val",)}.get(command, (command,))
    for part in parts:
        loaders = CombinedLoader(getattr(data, f"{part}_dataloader")()).flattened
        name = "overfit_batches" if trainer.overfit_batches and len(parts) > 1 else f"limit_{part}_batches"  # type: ignore[attr-defined]
        limit = getattr(trainer, f"limit_{part}_batches")
        fewest = min(map(len, loaders))
        if isinstance(limit, float) and limit > 0 and int(limit * fewest) < 1:
            raise Refused(f"--trainer.{name} {limit:g} of {fewest} {part} batches is none; give a number of batches")


def _try_network(
    trainer: Trainer, module: Classifier, data: ImageDataModule, image: torch.Tensor, fits: bool
) -> list[str]:
    """Run the network on two images, make its optimiser, and return what is to be said of its schedule.

    Raises:
        Refused: If it takes other images or gives too few logits.
    """
    shape, name = tuple(image.shape[1:]), type(module).__name__
    try:
        with frozen(module):
            logits = module(image.clone())
    except RuntimeError as error:
        made_for = f"by default it is for {module.image_shape}"
        raise Refused(f"--model: {name} takes no images of {shape}; {made_for}: {error}") from error
    if logits.shape[1] < data.classes:
        raise Refused(f"--model.classes: the network has {logits.shape[1]} logits, the data {data.classes} classes")
    optimizers = module.configure_optimizers()
    return check_schedule(trainer, optimizers, _batches(trainer, data)) if fits else []


def _batches(trainer: Trainer, data: ImageDataModule) -> int:
    """Training batches of an epoch."""
    limit, there = trainer.limit_train_batches, len(data.train_dataloader())
    return min(limit, there) if isinstance(limit, int) else int(limit * there)
