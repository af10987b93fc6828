"""Tests of callbacks/instruments/predictions.py."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from stratoscope.callbacks import Predictions


def outputs(*index: int, classes: int = 3) -> dict[str, Tensor]:
    """What a network gives of some images: image i is of class i % 3, and said to be of i // 2 % 3."""
    places = torch.tensor(index)
    probability = torch.full((len(index), classes), 0.1)
    probability[torch.arange(len(index)), places // 2 % classes] = 0.8
    return {"index": places, "true_label": places % classes, "probability": probability}


def trainer(folder: Path, **more: Any) -> Any:
    """What is asked of a trainer."""
    settings = {"global_rank": 0, "world_size": 1, "is_global_zero": True, "log_dir": None, "default_root_dir": folder}
    return SimpleNamespace(**{**settings, **more})


def written(file: Path) -> list[dict[str, str]]:
    """The table."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_every_image_has_a_row_in_the_original_order(tmp_path: Path) -> None:
    """Whatever the order of the batches, and whatever their sizes."""
    predictions, run, module = Predictions(), trainer(tmp_path), Any
    for number, batch in enumerate((outputs(4, 1), outputs(0, 3, 2))):
        predictions.on_predict_batch_end(run, module, batch, None, number)  # type: ignore[arg-type]
    predictions.on_predict_end(run, module)  # type: ignore[arg-type]
    rows = written(tmp_path / "predictions.csv")
    assert list(rows[0]) == ["index", "true_label", "predicted_label", "p0", "p1", "p2"]
    assert [(row["index"], row["true_label"], row["predicted_label"]) for row in rows] == [
        (str(i), str(i % 3), str(i // 2 % 3)) for i in range(5)
    ]
    for row in rows:
        shares = [float(row[f"p{label}"]) for label in range(3)]
        assert shares == pytest.approx([0.8 if label == int(row["predicted_label"]) else 0.1 for label in range(3)])


def test_the_loggers_folder_is_where_it_goes(tmp_path: Path) -> None:
    """Where there is one."""
    predictions = Predictions()
    predictions.batches = [outputs(0)]
    (tmp_path / "log").mkdir()
    predictions.on_predict_end(trainer(tmp_path, log_dir=str(tmp_path / "log")), Any)  # type: ignore[arg-type]
    assert (tmp_path / "log" / "predictions.csv").is_file()
    assert not (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_of_several_processes_writes_what_all_have_predicted(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one had no batch of its own."""
    everyone = {0: outputs(2, 0), 1: outputs(1, 3), 2: {}}
    monkeypatch.setattr("stratoscope.probes.Shard.share", lambda *_: everyone)
    predictions = Predictions()
    predictions.batches = [everyone[rank]]
    predictions.on_predict_end(
        trainer(tmp_path, global_rank=rank, world_size=3, is_global_zero=rank == 0),
        Any,  # type: ignore[arg-type]
    )
    assert (tmp_path / "predictions.csv").exists() is (rank == 0)
    if rank == 0:
        assert [row["index"] for row in written(tmp_path / "predictions.csv")] == list("0123")
