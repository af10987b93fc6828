"""Tests of stratoscope/fit/finished_epochs.py: every number is filed under the number of finished epochs."""

import csv
from pathlib import Path

import pytest

from stratoscope.commands.table import main

# as people write modules: loaders of their own, metrics of their own names, a plain shuffled loader
SOMEBODY = """
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Somebody(LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, image):
        return self.layers(image)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        image = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(image, image[:, :3].argmax(1)), batch_size=10)

    val_dataloader = test_dataloader = train_dataloader
"""
QUIET = "--trainer.accelerator cpu --trainer.enable_progress_bar false --threads 1"
FIT = f"fit --model somebody.Somebody --trainer.max_epochs 2 {QUIET} --run own --trainer.callbacks LinearProbes"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("somebody.py").write_text(SOMEBODY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def filed(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Epoch and step of every value of a table, by its column."""
    found: dict[str, list[tuple[str, str]]] = {}
    with file.open(newline="") as text:
        for row in csv.DictReader(text):
            for name in [name for name, value in row.items() if value and name not in {"epoch", "step"}]:
                found.setdefault(name, []).append((row["epoch"], row["step"]))
    return found


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|logging interval)")
def test_metrics_of_other_peoples_modules_are_filed_with_the_probes_of_the_same_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In our file and in Lightning's; stored networks under the epochs they have; and `ls` counts them."""
    loose = ["--trainer.callbacks.tolerance", "0.1"]
    main([*FIT.split(), *loose, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv"])
    for file in (Path("runs/own/metrics.csv"), next(Path("csv").rglob("metrics.csv"))):
        places = filed(file)
        assert places["loss"] == places["val_loss"] == [("1.0", "4"), ("2.0", "8")]
        assert places["probe/true_label/train/layers.0"] == [("0.0", "0"), *places["loss"]]
    for command, metric in {"validate": "val_loss", "test": "test_loss"}.items():
        main([command, "--ckpt_path", "runs/own/checkpoints/last.ckpt", "--run", command, "--trust"])
        assert [epoch for epoch, _ in filed(Path(f"runs/{command}/metrics.csv"))[metric]] == ["2.0"]
    capsys.readouterr()
    main(["ls", "runs"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("own"))
    assert "2/2" in line
    assert "true labels" not in line


def test_a_stored_network_of_ours_is_filed_under_its_epochs() -> None:
    """As its probes are; a network without a history under 0."""
    model = f"--model MLP --model.width 4 --data Digits {QUIET}"
    main(f"fit {model} --trainer.max_epochs 2 --trainer.limit_train_batches 1 --run own".split())
    main(["validate", "--ckpt_path", "runs/own/checkpoints/last.ckpt", "--run", "stored"])
    main([*f"test {model} --run drawn".split()])
    for run, epoch in {"stored": "2.0", "drawn": "0.0"}.items():
        assert [place for place, _ in filed(Path(f"runs/{run}/metrics.csv"))["test/loss"]] == [epoch]


def test_labels_of_other_peoples_data_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether they are the true ones is said of our data only."""
    Path("others.py").write_text(
        "import somebody\nfrom lightning.pytorch import LightningDataModule\n\n\nclass Others(LightningDataModule):\n"
        "    train_dataloader = val_dataloader = lambda self: somebody.Somebody().train_dataloader()\n"
    )
    main(f"fit --model MLP --model.width 4 --data Digits --run digits {QUIET} --trainer.max_steps 1".split())
    main(f"fit --model somebody.Somebody --data others.Others --run others {QUIET} --trainer.max_steps 1".split())
    capsys.readouterr()
    main(["ls", "runs"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["digits"].endswith("Digits, true labels")
    assert lines["others"].endswith("Others, labels unknown")


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|logging interval)")
@pytest.mark.parametrize("probes", ["LinearProbes", "OnlineProbes"])
def test_batches_that_cannot_be_read_are_refused_in_one_line(probes: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that predicts numbers: code 2 and a line that says what was got, and no step is taken."""
    regression = SOMEBODY.replace("image[:, :3].argmax(1)", "image[:, :3]").replace("cross_entropy", "mse_loss")
    Path("numbers_of_others.py").write_text(regression)
    words = FIT.replace("somebody.Somebody", "numbers_of_others.Somebody").replace("LinearProbes", probes)
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert line.startswith(f"stratoscope: {probes} needs batches (image, label)")
    assert ", 3) look like several labels per image" in line
    assert not Path("runs/own/checkpoints/last.ckpt").exists()
