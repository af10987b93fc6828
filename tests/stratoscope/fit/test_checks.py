"""Tests of stratoscope/fit/checks.py: parts that do not fit together are refused before anything is written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR

from stratoscope.callbacks import LinearProbes
from stratoscope.datamodules import Digits, ImageDataModule, RandomCrop, RandomSubset
from stratoscope.errors import Refused
from stratoscope.fit.checks import check_going_on, check_together, planned_run
from stratoscope.models import MLP
from stratoscope.models.parts.classifier import Classifier

SAMPLES = 64


def together(model: LightningModule, command: str = "fit", data: ImageDataModule | None = None, **options: Any) -> Any:
    """What is said of a run of two epochs on 64 digits in two batches."""
    trainer = plain_trainer(**options)
    data = data or digits()
    data.trainer = trainer
    data.setup()
    return check_together(trainer, model, data, command)


def plain_trainer(**options: Any) -> Trainer:
    """One that writes nothing."""
    usual: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    return Trainer(**{"accelerator": "cpu", "max_epochs": 2, **usual, **options})


def digits(samples: int = SAMPLES, **settings: Any) -> Digits:
    """A few digits."""
    return Digits(**{"batch_size": 32, "corruption": RandomSubset(samples, seed=0), **settings})


def normalised(scheduler: Any = ConstantLR) -> Classifier:
    """A network with a batch normalisation."""
    layers = nn.Flatten(), nn.Linear(3 * 28 * 28, 4), nn.BatchNorm1d(4), nn.Linear(4, 10)
    return Classifier(nn.Sequential(*layers), lambda weights: SGD(weights, lr=0.1), scheduler)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_parts_that_fit_together_need_no_word(command: str) -> None:
    """Whatever is done with them; the network is as it was."""
    model = normalised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert together(model, command) == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "images": ({"model": MLP(inputs=10)}, r"^--model: MLP takes no images of \(3, 28, 28\); by default it is for"),
    "classes": ({"model": MLP(width=2, classes=5)}, "^--model.classes: the network has 5 logits, the data 10 classes$"),
    "crop": (
        {"data": digits(augmentation=[RandomCrop(40)])},
        "^--data.augmentation RandomCrop: a crop of 40 pixels does not fit",
    ),
    "one left": (
        {"model": normalised(), "data": digits(33)},
        "^--data.batch_size 32 leaves one of 33 samples for the last batch",
    ),
    "interval": (
        {"val_check_interval": 3},
        "^--trainer.val_check_interval 3 is more than the 2 batches of an epoch",
    ),
    "share": (
        {"limit_val_batches": 0.1},
        "^--trainer.limit_val_batches 0.1 of 1 val batches is none; give a number of batches$",
    ),
    "overfit": ({"overfit_batches": 0.4}, "^--trainer.overfit_batches 0.4 of 2 train batches is none"),
}


@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.parametrize("what", REFUSED)
def test_parts_that_do_not_fit_are_refused_by_their_option(what: str) -> None:
    """With what would be right."""
    parts, said = REFUSED[what]
    with pytest.raises(Refused, match=said):
        together(**{"model": MLP(width=2), **parts})


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("fit", {"model": MLP(width=2), "data": digits(33)}),  # without a batch normalisation
        ("validate", {"model": normalised(), "data": digits(33)}),  # which trains on nothing
        ("fit", {"val_check_interval": 3, "check_val_every_n_epoch": None}),  # counted over epochs
        ("fit", {"val_check_interval": 3, "limit_val_batches": 0}),  # nothing is validated
        ("validate", {"val_check_interval": 3}),
        ("test", {"limit_val_batches": 0.1}),  # of other sets
        ("fit", {"limit_val_batches": 0}),
    ],
)
def test_what_is_none_of_a_commands_concern_stops_it_not(command: str, parts: dict[str, Any]) -> None:
    """Near to what is refused."""
    assert together(**{"model": MLP(width=2), **parts}, command=command) == []


def test_an_instrument_is_asked() -> None:
    """It refuses what it cannot measure, and says what it does."""
    with pytest.raises(ValueError, match="no tap matches 'rellu1'"):
        together(MLP(width=2), callbacks=[LinearProbes(taps="rellu1")])
    with pytest.raises(ValueError, match="two or more must be left"):
        together(MLP(width=2), callbacks=[LinearProbes(train_samples=1)])
    few = "LinearProbes fits 5 samples, fewer than there are classes"
    assert few in together(MLP(width=2), callbacks=[LinearProbes(held_out=59)])


def test_a_schedule_is_compared_with_the_batches_of_the_run() -> None:
    """Two epochs of two batches, or of as many as there may be."""
    model = normalised(lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=3))
    with pytest.raises(Refused, match="OneCycleLR ends after 3 steps, the run has 4 steps"):
        together(model)
    assert "is made for 3 steps, the run has 2 steps" in together(model, limit_train_batches=1)[0]
    assert "is made for 3 steps, the run has 2 steps" in together(model, limit_train_batches=0.5)[0]
    assert together(model, "validate") == []


@pytest.mark.parametrize(
    ("fits", "epochs", "last"), [(True, 2, 2), (True, -1, None), (False, 2, 0)], ids=["fit", "no end", "validate"]
)
def test_a_planned_run_has_the_number_of_its_last_epoch(fits: bool, epochs: int, last: int | None) -> None:
    """None if there is no end, 0 if nothing is trained."""
    data = digits()
    data.setup()
    batch = data.sets["test"].__getitems__(range(2))
    planned = planned_run(plain_trainer(max_epochs=epochs), MLP(width=2), data, batch, fits)
    assert planned.epochs == last
    assert planned.classes == 10


def test_a_checkpoint_that_lacks_what_training_needs_is_refused(tmp_path: Path) -> None:
    """To go on; to evaluate it, weights are enough."""
    file = tmp_path / "weights.ckpt"
    model = MLP(width=2)
    torch.save({"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.0"}, file)
    check_going_on(str(file), plain_trainer(), model, fits=False)
    with pytest.raises(Refused, match=r"^--ckpt_path: .*weights\.ckpt cannot be gone on from: it has no .*loops"):
        check_going_on(str(file), plain_trainer(), model, fits=True)
