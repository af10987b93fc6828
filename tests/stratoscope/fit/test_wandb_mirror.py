"""Tests of stratoscope/fit/wandb_mirror.py with a stand-in for W&B; the real one is in ../test_wandb.py."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import WandbLogger

from stratoscope.files.table import COLUMNS, Table
from stratoscope.fit.wandb_mirror import WandbMirror, summary
from stratoscope.results.record import RunRecord
from stratoscope.run.metrics_file import MetricsFile

OF_LAYERS: dict[str, float | None] = {"probe/true_label/test/loss": 0.9, "online_probe/given_label/test/accuracy": 0.8}
METRICS = [
    {"epoch": epoch, "step": 2 * epoch, "test/accuracy": accuracy, "test/loss": loss} | OF_LAYERS
    for epoch, accuracy, loss in ((0, None, None), (1, 0.75, 0.5), (2, 0.5, 0.25))
]


def probe(epoch: int, layer: str, accuracy: float | None, split: str = "test") -> dict[str, Any]:
    """A row of probes.csv."""
    usual = {"labels": "true_label", "split": split, "chosen": True}
    return {"epoch": epoch, "layer": layer, **usual, "accuracy": accuracy}


def run(**tables: list[dict[str, Any]]) -> RunRecord:
    """A run with these metrics and tables."""
    made = {name: Table({column: COLUMNS[column] for column in rows[0]}, rows) for name, rows in tables.items()}
    return RunRecord(Path("x"), "x", "finished", {}, {}, METRICS, made)


def test_a_summary_has_final_and_best_values() -> None:
    """Of accuracies the largest is best, of losses the smallest; nothing of what is neither, nor of probes."""
    assert summary(run()) == {
        "final/test/accuracy": 0.5,
        "best/test/accuracy": 0.75,
        "best/test/accuracy/epoch": 1,
        "final/test/loss": 0.25,
        "best/test/loss": 0.25,
        "best/test/loss/epoch": 2,
    }


def test_a_summary_has_the_most_separable_layer_of_the_last_epoch() -> None:
    """For each kind of labels and set, of every instrument by its name; a layer that failed is none."""
    rows = [
        probe(0, "a", 0.99),
        probe(2, "a", 0.5),
        probe(2, "b", 0.75),
        probe(2, "c", None),
        {**probe(2, "a", 1, "train"), "labels": "given_label"},
    ]
    found = summary(run(probes=rows, probes_deep=[probe(1, "d", 0.25)]))
    assert {name: value for name, value in found.items() if name.startswith("separability")} == {
        "separability/true_label/test": 0.75,
        "separability/true_label/test/layer": "b",
        "separability/given_label/train": 1,
        "separability/given_label/train/layer": "a",
        "separability_deep/true_label/test": 0.25,
        "separability_deep/true_label/test/layer": "d",
    }


class There:
    """Stands for W&B's run.

    Args:
        config: What it has been told already.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = dict(config)
        self.summary: dict[str, Any] = {}
        self.axes: list[tuple[Any, ...]] = []

    def define_metric(self, *names: str, **options: Any) -> None:
        """Note an axis."""
        self.axes.append((*names, *sorted(options.items())))


class Logger(WandbLogger):
    """Lightning's logger around it.

    Args:
        run: The run.
    """

    def __init__(self, run: There) -> None:
        self._run = run

    @property
    def experiment(self) -> Any:
        """The run."""
        return self._run


def trainer(folder: Path, there: There) -> Any:
    """A trainer that logs to both."""
    return SimpleNamespace(loggers=[MetricsFile(folder), Logger(there)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run directory."""
    (tmp_path / "run.json").write_text(json.dumps({"status": "running"}))
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "metrics.csv").write_text("epoch,step,test/loss\n1,2,0.5\n")
    (tmp_path / "probes.csv").write_text(
        "epoch,layer,labels,split,chosen,ridge,accuracy\n1,a,true_label,test,True,0.001,0.75\n"
    )
    return tmp_path


def test_the_epoch_is_the_axis_and_a_sweeps_config_stays(folder: Path) -> None:
    """A sweep has set its own, and lets nobody change it; loggers are nobody's config."""
    there = There({"model.width": 4})
    config = {"model.width": 8, "model.depth": 1, "trainer.logger.name": "x"}
    WandbMirror(folder, config).setup(trainer(folder, there), None, "fit")  # type: ignore[arg-type]
    assert there.axes == [("epoch",), ("*", ("step_metric", "epoch"), ("step_sync", True))]
    assert there.config == {"model.width": 4, "model.depth": 1}


def end(folder: Path, there: There) -> None:
    """End a run."""
    WandbMirror(folder, {}).teardown(trainer(folder, there), None, "fit")  # type: ignore[arg-type]


def test_at_the_end_the_summary_is_passed_on(folder: Path) -> None:
    """As the run directory has it."""
    there = There({})
    end(folder, there)
    assert there.summary["final/test/loss"] == 0.5
    assert there.summary["separability/true_label/test/layer"] == "a"


def test_a_directory_that_somebody_has_changed_ends_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Training has ended well."""
    (folder / "run.json").write_text("[]")
    there = There({})
    end(folder, there)
    assert there.summary == {}
    assert "W&B has no summary" in caplog.text
