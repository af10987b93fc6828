"""Tests of callbacks/instruments/own_files.py: no run overwrites the table of another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks import LinearProbes, OnlineProbes

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(num_workers|Checkpoint directory|Experiment logs directory)"),
    pytest.mark.usefixtures("no_pictures"),
]
PROBES = {"probes": LinearProbes, "online_probes": OnlineProbes}


class Somebody(LightningModule):
    """A linear network on pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layer(image)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Nothing to measure."""
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[Any]:
    """40 samples."""
    image = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(image, image[:, :3].argmax(1)), 10)


def trainer(folder: Path, probes: Any, epochs: int, logger: Any = False) -> Trainer:
    """A quiet trainer on the CPU that keeps its last checkpoint."""
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    keep = ModelCheckpoint(folder / "kept", filename="last", enable_version_counter=False)
    return Trainer(
        accelerator="cpu", default_root_dir=folder, max_epochs=epochs, logger=logger, callbacks=[probes, keep], **quiet
    )


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize("logged", [False, True])
def test_a_second_run_leaves_the_first_ones_table(kind: str, logged: bool, tmp_path: Path) -> None:
    """Without a logger, or with one that has one folder for all runs."""
    tables: list[bytes] = []
    where = tmp_path / "same" / "same" if logged else tmp_path
    probes = PROBES[kind]("layer")
    for number, ending in enumerate(["", "-2", "-3"]):
        logger = CSVLogger(tmp_path, "same", "same") if logged else False
        trainer(tmp_path, PROBES[kind]("layer") if number < 2 else probes, 1, logger).fit(
            Somebody(), loader(), loader()
        )
        tables.append((where / f"{kind}{ending}.csv").read_bytes())
        assert len(list(where.glob(f"{kind}*.csv"))) == number + 1
        assert (where / f"{'separability' if kind == 'probes' else kind}{ending}.png").is_file()
    assert [(where / f"{kind}{ending}.csv").read_bytes() for ending in ("", "-2", "-3")] == tables


@pytest.mark.parametrize("kind", PROBES)
def test_a_run_that_goes_on_goes_on_with_its_table(kind: str, tmp_path: Path) -> None:
    """Its own, also where it is not the first in the folder."""
    trainer(tmp_path, PROBES[kind]("layer"), 1).fit(Somebody(), loader(), loader())
    first = (tmp_path / f"{kind}.csv").read_bytes()
    trainer(tmp_path, PROBES[kind]("layer"), 1).fit(Somebody(), loader(), loader())
    begun = (tmp_path / f"{kind}-2.csv").read_bytes()
    trainer(tmp_path, PROBES[kind]("layer"), 2).fit(
        Somebody(), loader(), loader(), ckpt_path=str(tmp_path / "kept" / "last.ckpt"), weights_only=True
    )
    assert (tmp_path / f"{kind}.csv").read_bytes() == first
    whole = (tmp_path / f"{kind}-2.csv").read_bytes()
    assert whole.startswith(begun)
    assert len(whole) > len(begun)
    assert not (tmp_path / f"{kind}-3.csv").exists()


def test_validation_after_training_leaves_the_table_of_the_training(tmp_path: Path) -> None:
    """The rows of all epochs are worth more than those of the last network."""
    run = trainer(tmp_path, LinearProbes("layer"), 1)

    class WithData(Somebody):
        def train_dataloader(self) -> DataLoader[Any]:
            return loader()

        def val_dataloader(self) -> DataLoader[Any]:
            return loader()

    module = WithData()
    run.fit(module)
    before = (tmp_path / "probes.csv").read_bytes()
    run.validate(module, verbose=False)
    assert (tmp_path / "probes.csv").read_bytes() == before
    assert (tmp_path / "probes-2.csv").is_file()


def test_another_name_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In one line, with both files."""
    (tmp_path / "probes.csv").write_text("somebody's")
    with caplog.at_level("INFO"):
        trainer(tmp_path, LinearProbes("layer", epochs=[0]), 1).fit(Somebody(), loader(), loader())
    assert f"{tmp_path}/probes.csv is of another run: this one writes probes-2.csv" in caplog.text
    assert (tmp_path / "probes.csv").read_text() == "somebody's"
