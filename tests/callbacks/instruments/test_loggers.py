"""Tests of callbacks/instruments/loggers.py, and of what instruments lose when a logger fails: nothing."""

import csv
import os
import warnings
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.callbacks.instruments import loggers
from stratoscope.files.table import EpochTable, kinds_of


class NoTable(CSVLogger):
    """A logger that cannot take a table."""

    def log_table(self, *_: Any, **__: Any) -> None:
        """Fail.

        Raises:
            ConnectionError: Always.
        """
        raise ConnectionError("server away")


class Away(CSVLogger):
    """A logger whose server is away when probes are logged."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Fail.

        Raises:
            ConnectionError: Always.
        """
        if any("probe/" in name for name in metrics):
            raise ConnectionError("server away")
        super().log_metrics(metrics, step)


class Small(LightningModule):
    """A network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.hidden(image).relu())
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:Away has not taken the probes")  # of the other epochs
@pytest.mark.parametrize("probes", [LinearProbes("hidden"), OnlineProbes("hidden")], ids=["linear", "online"])
def test_a_logger_that_fails_costs_neither_rows_nor_training(
    probes: LinearProbes | OnlineProbes, tmp_path: Path
) -> None:
    """It is named in a warning; the table has the numbers of every epoch, and so have other callbacks."""
    image = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(image, (image[:, 0] > 0).long()), batch_size=10)
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=Away(tmp_path),
        callbacks=[probes],
        enable_checkpointing=False,
        log_every_n_steps=1,
        **quiet,
    )
    with pytest.warns(UserWarning, match="Away has not taken the probes of epoch 1: ConnectionError: server away"):
        trainer.fit(Small(), loader)
    assert trainer.current_epoch == 2
    epochs = {0, 1, 2} if isinstance(probes, LinearProbes) else {1, 2}
    assert {row["epoch"] for row in probes.table.rows} == epochs
    assert all(row["accuracy"] is not None and not row["failed"] for row in probes.table.rows)
    assert any("probe/" in name for name in trainer.callback_metrics)


def trained(logger: Any, measures: list[str] | None = None, name: str | None = None) -> LinearProbes:
    """Probes of two epochs of training, passed to a logger."""
    image = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(image, (image[:, 0] > 0).long()), batch_size=10)
    probes = LinearProbes(["hidden", "head"], measures=measures, name=name)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=logger,
        callbacks=[probes],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Small(), loader)
    return probes


def pixels(file: Path) -> Any:
    """A picture's."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def metrics_of(probes: LinearProbes) -> dict[str, dict[int, float]]:
    """What every logger has to know: by name, then by epoch."""
    found: dict[str, dict[int, float]] = {}
    for epoch in probes.table.epochs:
        for name, value in probes.accuracies(epoch).items():
            found.setdefault(name, {})[epoch] = value
    assert len(found) == 2
    return found


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
def test_csv_has_the_numbers(tmp_path: Path) -> None:
    """Of every epoch; table and picture are beside them."""
    probes = trained(CSVLogger(tmp_path))
    folder = tmp_path / "lightning_logs" / "version_0"
    with (folder / "metrics.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    for name, values in metrics_of(probes).items():
        told = {int(float(row["epoch"])): float(row[name]) for row in rows if row.get(name)}
        assert told == pytest.approx(values)
    assert {file.name for file in folder.iterdir()} >= {"probes.csv", "separability.png"}


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
def test_tensorboard_has_numbers_pictures_and_tables(tmp_path: Path) -> None:
    """As its event file on the disk has them."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    probes = trained(TensorBoardLogger(tmp_path), ["rank"], "deep")
    folder = tmp_path / "lightning_logs" / "version_0"
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    epochs = {event.step: int(event.value) for event in events.Scalars("epoch")}
    for name, values in metrics_of(probes).items():
        assert name.startswith("probe/deep/")
        told = {epochs[event.step]: event.value for event in events.Scalars(name)}
        assert told == pytest.approx(values)
    for name in ("separability_deep", "measures_deep"):
        shown = events.Images(name)[-1]
        with Image.open(BytesIO(shown.encoded_image_string)) as picture:
            assert (np.asarray(picture) == pixels(folder / f"{name}.png")).all()
        assert shown.step == 8
    (event,) = events.Tensors("probes_deep/text_summary")
    (text,) = make_ndarray(event.tensor_proto)
    lines = text.decode().splitlines()
    assert lines[0] == f"| {' | '.join(probes.table.columns)} |"
    assert len(lines) == 2 + len(probes.table.latest)
    layer = list(probes.table.columns).index("layer") + 1
    assert {line.split(" | ")[layer - 1].removeprefix("| ") for line in lines[2:]} == {"hidden", "head"}
    assert events.Tensors("measures_deep/text_summary")


@pytest.mark.filterwarnings("ignore")  # of mlflow itself
def test_mlflow_has_numbers_pictures_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its server's database and its artifacts have them."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow")
    monkeypatch.chdir(tmp_path)
    address = os.environ.get("STRATOSCOPE_TEST_MLFLOW", f"sqlite:///{tmp_path}/mlflow.db")  # or a server's
    logger = MLFlowLogger("ours", tracking_uri=address)
    probes = trained(logger)
    client = mlflow.tracking.MlflowClient(address)
    epochs = {one.step: int(one.value) for one in client.get_metric_history(logger.run_id, "epoch")}
    for name, values in metrics_of(probes).items():
        told = {epochs[one.step]: one.value for one in client.get_metric_history(logger.run_id, name)}
        assert told == pytest.approx(values)
    assert {one.path for one in client.list_artifacts(logger.run_id)} >= {"probes.csv", "separability.png"}
    written = Path(probes.files.folder)
    for file in ("probes.csv", "separability.png"):
        kept = Path(client.download_artifacts(logger.run_id, file, str(tmp_path)))
        assert kept.read_bytes() == (written / file).read_bytes()


def test_wandb_has_numbers_pictures_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a trainer of one's own; with the command line it is in tests/stratoscope/test_wandb.py."""
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()  # it reads the environment once
    told: list[dict[str, Any]] = []
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    monkeypatch.setattr(logger.experiment, "log", lambda row, **_: told.append(row))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probes = trained(logger)
    logger.experiment.finish()
    wandb.teardown()
    for name, values in metrics_of(probes).items():
        assert {int(row["epoch"]): row[name] for row in told if name in row} == pytest.approx(values)
    (picture,) = [row["separability"] for row in told if "separability" in row]
    assert isinstance(picture[0], wandb.Image)
    (table,) = [row["probes"] for row in told if "probes" in row]
    assert table.columns == [*probes.table.columns]
    assert table.data == [[row[name] for name in probes.table.columns] for row in probes.table.rows]


def test_wandb_is_given_no_table_that_it_would_wait_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server is asked first; the user is told where the table is."""
    monkeypatch.setattr(loggers, "reachable", lambda: False)
    online = SimpleNamespace(log_table=None, experiment=SimpleNamespace(offline=False))
    online.log_table = lambda *_, **__: pytest.fail("it is asked")
    trainer: Any = SimpleNamespace(loggers=[online], global_step=3)
    table = EpochTable(kinds_of("epoch", "layer"), [{"epoch": 1, "layer": "a"}])
    with pytest.warns(UserWarning, match=r"has not taken the table norms: ConnectionError: no answer.*in x/norms"):
        loggers.tabulate_to_all(trainer, {Path("x/norms.csv"): table})


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
def test_a_logger_that_takes_no_table_costs_nothing_else(tmp_path: Path) -> None:
    """It is named, with where the table is."""
    with pytest.warns(UserWarning, match=r"NoTable has not taken the table probes: .*; it is in .*_0/probes.csv"):
        probes = trained(NoTable(tmp_path))
    assert probes.table.epochs == [0, 1, 2]


def test_a_table_is_markdown() -> None:
    """What has a meaning there is written out."""
    columns = kinds_of("epoch", "layer", "accuracy", "failed")
    row = {"epoch": 1, "layer": "a|b", "accuracy": 0.123456789, "failed": "one\ntwo", "other": 1}
    text = loggers.markdown(columns, [row, {**row, "accuracy": None}])
    assert text.splitlines() == [
        "| epoch | layer | accuracy | failed |",
        "| --- | --- | --- | --- |",
        "| 1 | a\\|b | 0.123457 | one two |",
        "| 1 | a\\|b |  | one two |",
    ]
