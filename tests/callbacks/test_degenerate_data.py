"""Probes, in a run, of layers that know nothing and labels that say nothing: the table says so, and the run goes on."""

import csv
from math import log
from pathlib import Path

import pytest
import torch

from stratoscope.commands.table import main
from stratoscope.datamodules import Digits, Sets
from stratoscope.datamodules.batch import labelled

FIT = (
    "--model MLP --model.width 64 --data.batch_size 200 --trainer.accelerator cpu --trainer.max_epochs 1 "
    "--trainer.enable_progress_bar false --trainer.callbacks LinearProbes --run r"
)
PER_CLASS, REST = divmod(1437, 10)


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


class GreyDigits(Digits):
    """All images are the same."""

    def load(self) -> Sets:
        """Paint over them; the labels are 0 to 9 in turn."""
        sets = super().load()
        return {
            name: labelled(torch.full_like(part.image, 77), torch.arange(len(part.index)) % 10)
            for name, part in sets.items()
        }


class DigitsBut7(Digits):
    """The training set has no 7, the test set has."""

    def load(self) -> Sets:
        """Leave them out."""
        sets = super().load()
        train = sets["train"]
        kept = train.true_label != 7
        return sets | {"train": labelled(train.image[kept], train.true_label[kept])}


class Digits0(Digits):
    """All labels are 0."""

    label = 0

    def load(self) -> Sets:
        """Change them."""
        sets = super().load()
        return {name: labelled(part.image, torch.full_like(part.index, self.label)) for name, part in sets.items()}


class Digits3(Digits0):
    """All labels are 3."""

    label = 3


def table(data: type[Digits], more: str = "") -> list[dict[str, str]]:
    """The probes' table of a run."""
    main(f"fit --data {data.__name__} {FIT} {more}".split())
    with Path("runs/r/probes.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == len({row["layer"] for row in rows}) * 2 * 2  # sets, epochs
    assert all(row["failed"] == "" and row["converged"] == "True" for row in rows)
    return rows


def test_constant_features_leave_the_share_of_the_largest_class() -> None:
    """The loss is the entropy of the classes."""
    share = (PER_CLASS + 1) / 1437
    entropy = -REST * share * log(share) - (10 - REST) * PER_CLASS / 1437 * log(PER_CLASS / 1437)
    for row in table(GreyDigits):
        assert float(row["loss"]) == pytest.approx(entropy if row["split"] == "train" else log(10), abs=1e-4)
        correct = PER_CLASS + 1 if row["split"] == "train" else 36
        assert int(row["correct"]) == correct


def test_a_class_that_is_absent_in_training_is_never_answered() -> None:
    """The others are recognised as ever; of the test set all those of the class are wrong, at a finite loss."""
    sevens = int((Digits().load()["test"].true_label == 7).sum())
    few = "--data.corruption RandomSubset --data.corruption.n 200 --trainer.callbacks.width 100"
    for row in table(DigitsBut7, few):
        if row["split"] == "train":
            assert float(row["accuracy"]) > 0.7
            assert float(row["loss"]) < 1
        else:
            assert int(row["correct"]) <= 360 - sevens
            assert float(row["accuracy"]) > 0.5  # by chance 0.1
            assert float(row["loss"]) < 100


@pytest.mark.parametrize("data", [pytest.param(Digits0, marks=pytest.mark.slow), Digits3])
def test_labels_that_are_all_equal_are_certain(data: type[Digits]) -> None:
    """Whichever it is: every answer is right, at no loss."""
    for row in table(data):
        assert row["correct"] == row["count"]
        assert float(row["loss"]) == pytest.approx(0, abs=1e-5)
