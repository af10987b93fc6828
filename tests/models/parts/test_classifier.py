"""Tests of models/parts/classifier.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.datamodules import Batch, Digits, PartialLabels
from stratoscope.datamodules.set_names import named_sets
from stratoscope.models import MLP, Classifier, SmallAlexNet

pytestmark = pytest.mark.filterwarnings("ignore:GPU available but not used")  # the tests run on the CPU everywhere
METRICS = ("loss", "accuracy", "accuracy_untouched", "accuracy_corrupted", "accuracy_true")


def small(seed: int = 0) -> MLP:
    """An MLP of two layers of 16 units."""
    torch.manual_seed(seed)
    return MLP(depth=2, width=16)


def trainer(**settings: Any) -> Trainer:
    """A trainer of one epoch that writes nothing."""
    quiet = {name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    return Trainer(**{"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1, **quiet, **settings})


def digits(corrupted: bool = False) -> Digits:
    """Digits in a fixed order, with half of the labels redrawn where wanted."""
    return Digits(corruption=PartialLabels(0.5) if corrupted else None, seed=0)


def whole(data: Digits, split: str) -> Batch:
    """All samples of a split in one batch."""
    data.prepare_data()
    data.setup()
    loader = data.train_dataloader() if split == "train" else data.test_dataloader()
    return Batch(*(torch.cat(parts) for parts in zip(*loader, strict=True)))


def by_hand(logits: Tensor, batch: Batch) -> dict[str, float]:
    """All metrics of some logits."""
    hit, true = logits.argmax(1) == batch.given_label, batch.given_label == batch.true_label
    return {
        "loss": cross_entropy(logits, batch.given_label).item(),
        "accuracy": hit.float().mean().item(),
        "accuracy_untouched": hit[true].float().mean().item(),
        "accuracy_corrupted": hit[~true].float().mean().item(),
        "accuracy_true": (logits.argmax(1) == batch.true_label).float().mean().item(),
    }


def test_the_training_loss_is_the_cross_entropy_on_the_given_labels() -> None:
    """A training step returns the mean over the batch, on the corrupted labels, with a gradient."""
    batch, model = whole(digits(corrupted=True), "train"), small()
    loss = model.training_step(batch, 0)
    assert_close(loss, cross_entropy(model(batch.image), batch.given_label))
    assert not torch.isclose(loss, cross_entropy(model(batch.image), batch.true_label))
    assert loss.requires_grad


def test_one_epoch_lowers_the_training_loss() -> None:
    """One epoch on the digits at the paper's settings (12 steps) lowers the loss on the training set."""
    batch, model = whole(digits(), "train"), small()
    before = cross_entropy(model(batch.image), batch.given_label)
    trainer().fit(model, digits())
    assert cross_entropy(model(batch.image), batch.given_label) < before - 0.2  # of ln 10


def test_the_learning_rate_falls_once_an_epoch() -> None:
    """After one epoch it is 0.0095, after two 0.01 * 0.95^2, however many steps they have."""
    for epochs in (1, 2):
        running = trainer(max_epochs=epochs, limit_val_batches=0)
        running.fit(small(), digits())
        assert running.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 * 0.95**epochs)


def test_the_optimiser_given_is_taken() -> None:
    """Optimiser and schedule are made by the functions of the config, from the model's parameters."""
    model = MLP(
        width=8,
        optimizer=lambda params: Adam(params, lr=0.5),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.1),
    )
    made: Any = model.configure_optimizers()
    assert isinstance(made["optimizer"], Adam)
    assert made["optimizer"].param_groups[0]["lr"] == pytest.approx(0.05)


def test_training_metrics_are_logged_once_an_epoch() -> None:
    """A learning rate of 0 holds the network still: the epoch's metrics are those of the whole training set."""
    torch.manual_seed(0)
    model = MLP(width=16, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    batch = whole(digits(corrupted=True), "train")
    running = trainer(max_epochs=2)
    running.fit(model, digits(corrupted=True))
    wanted = by_hand(model(batch.image), batch)
    for name in METRICS:
        assert running.callback_metrics[f"train/{name}"].item() == pytest.approx(wanted[name], abs=1e-6), name
    assert running.callback_metrics["epoch"] == 2


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_test_metrics_are_those_of_the_whole_test_set(command: str) -> None:
    """Validating during training, validating and testing give loss and accuracy on all 360 test images."""
    model, running, batch = small(), trainer(), whole(digits(), "test")
    options = {} if command == "fit" else {"verbose": False}
    getattr(running, command)(model, digits(corrupted=True), **options)
    wanted = by_hand(model(batch.image), batch)
    logged = {name.removeprefix("test/") for name in running.callback_metrics if name.startswith("test/")}
    assert logged == {"loss", "accuracy"}  # the test labels are never corrupted
    for name in logged:
        assert running.callback_metrics[f"test/{name}"].item() == pytest.approx(wanted[name], abs=1e-6)
    assert ("epoch" in running.callback_metrics) == (command == "fit")


def test_prediction_covers_the_test_set_in_order() -> None:
    """Predicting gives index, true label and class probabilities of all 360 test images."""
    model, batch = small(), whole(digits(), "test")
    parts: Any = trainer().predict(model, digits(corrupted=True))
    assert all(part.keys() == {"index", "true_label", "probability"} for part in parts)
    predicted = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    assert torch.equal(predicted["index"], torch.arange(360))
    assert torch.equal(predicted["true_label"], batch.true_label)
    assert predicted["probability"].shape == (360, 10)
    assert_close(predicted["probability"].sum(1), torch.ones(360))
    assert_close(predicted["probability"].log(), model(batch.image).detach().log_softmax(1))


@pytest.mark.parametrize("make", [lambda: MLP(depth=2, width=8), lambda: SmallAlexNet(local_response_norm=False)])
def test_a_checkpoint_gives_the_same_model(make: Any, tmp_path: Path) -> None:
    """`load_from_checkpoint` alone rebuilds sizes and weights; the file holds nothing that could run code."""
    torch.manual_seed(1)
    model: Classifier = make()
    running = trainer(max_steps=1, limit_val_batches=0)
    running.fit(model, Digits(batch_size=4, seed=0))
    file = tmp_path / "model.ckpt"
    running.save_checkpoint(file)

    stored = torch.load(file, weights_only=True)
    assert stored["state_dict"].keys() == model.state_dict().keys()
    torch.manual_seed(2)
    loaded = type(model).load_from_checkpoint(file, map_location="cpu")
    assert dict(loaded.hparams) == dict(model.hparams)
    for name, weights in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights), name


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """One epoch, a checkpoint and another epoch give the weights of two epochs, bit for bit."""
    straight = small()
    trainer(max_epochs=2, limit_val_batches=0).fit(straight, digits())
    running = trainer(limit_val_batches=0)
    running.fit(small(), digits())
    running.save_checkpoint(tmp_path / "half.ckpt")
    resumed = small(seed=3)
    trainer(max_epochs=2, limit_val_batches=0).fit(resumed, digits(), ckpt_path=str(tmp_path / "half.ckpt"))
    for name, weights in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weights), name


@pytest.mark.parametrize("default", ["val", "test"])
def test_sets_are_called_as_in_probe_tables(default: str) -> None:
    """Sets without a name are called after what is done with them: the same in metrics as for the callbacks."""
    loaders = [DataLoader(TensorDataset(torch.zeros(3))) for _ in range(3)]
    model = small()
    model._measure(loaders, default)
    assert list(model.test_metrics) == list(named_sets(loaders, default)) == [default, f"{default}#2", f"{default}#3"]
