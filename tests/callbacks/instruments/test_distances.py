"""Tests of callbacks/instruments/distances.py: how far weights have come, also where a run was interrupted."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import Distances
from stratoscope.commands.table import main
from stratoscope.files.table import read_table
from stratoscope.results import load_run
from tests.callbacks.small_layers import fit
from tests.forked_runs import command, finish, forked, said
from tests.interrupted_runs import At

FIT = (
    "fit --model MLP --model.width 4 --data Digits --data.batch_size 64 --data.corruption RandomSubset "
    "--data.corruption.n 128 --trainer.accelerator cpu --threads 1 --trainer.max_epochs 4"
)


class Weights(Callback):
    """Keeps the weights of every epoch, the untrained ones too."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep them."""
        self.kept.append(torch.cat([one.detach().double().flatten() for one in pl_module.parameters()]))

    on_train_epoch_end = on_train_start


def of_all(rows: list[dict[str, Any]], measure: str) -> list[float]:
    """A measure of the whole network, by epoch."""
    return [row["value"] for row in rows if (row["layer"], row["measure"]) == ("(all)", measure)]


def test_they_are_those_of_the_weights(tmp_path: Path) -> None:
    """Norm, distance from the start, and the sum of the steps; layers make up the whole."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    weights, distances = Weights(), Distances()
    fit(tmp_path, network, weights, distances)
    table = read_table(tmp_path / "distances.csv")
    assert table is not None
    kept = weights.kept
    assert of_all(table.rows, "norm") == pytest.approx([float(one.norm()) for one in kept])
    assert of_all(table.rows, "from_start") == pytest.approx([float((one - kept[0]).norm()) for one in kept])
    steps = [0.0, *(float((b - a).norm()) for a, b in pairwise(kept))]
    assert of_all(table.rows, "trajectory") == pytest.approx([sum(steps[: k + 1]) for k in range(len(steps))])
    layers = [row["value"] ** 2 for row in table.rows if row["measure"] == "norm" and row["layer"] != "(all)"]
    assert [sum(layers[k : k + 2]) ** 0.5 for k in (0, 2, 4)] == pytest.approx(of_all(table.rows, "norm"))
    assert list(distances.frame().columns) == ["epoch", "layer", "measure", "value"]
    assert (tmp_path / "distances.png").stat().st_size > 5000


def test_a_run_that_was_interrupted_has_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte: the start and the way so far are in the checkpoint."""
    monkeypatch.chdir(tmp_path)
    line = f"{FIT} --trainer.callbacks Distances --run"
    assert finish(forked(command(f"{line} whole".split()))) == 0, said()
    assert finish(forked(command(f"{line} cut".split(), At("on_train_batch_end", 2, 1, 15)))) == 143, said()
    assert finish(forked(command(f"{line} cut".split()))) == 0, said()
    tables = [Path(f"runs/{name}/distances.csv").read_bytes() for name in ("whole", "cut")]
    assert tables[0] == tables[1]
    assert len(of_all(load_run("runs/cut").tables["distances"].rows, "norm")) == 5


def test_other_solutions_of_stored_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the names of their runs; of another network is refused, before anything is written."""
    monkeypatch.chdir(tmp_path)
    short = FIT.replace("max_epochs 4", "max_epochs 1")
    for name, seed in (("a", 0), ("b", 1)):
        main(f"{short} --seed_everything {seed} --run {name}".split())
    line = "validate --ckpt_path runs/a/checkpoints/last.ckpt --trainer.accelerator cpu --trainer.callbacks Distances"
    main(f"{line} --trainer.callbacks.to runs/b/checkpoints/last.ckpt --run far".split())
    rows = load_run("runs/far").tables["distances"].rows
    assert {row["measure"] for row in rows} == {"norm", "to b"}
    assert {row["epoch"] for row in rows} == {1}
    states = [torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for name in "ab"]
    far = sum(float((states[0][key].double() - states[1][key].double()).square().sum()) for key in states[0])
    assert of_all(rows, "to b") == pytest.approx([far**0.5])
    assert load_run("runs/far").last("distance/to/b") == pytest.approx(far**0.5)
    main(f"{short} --model.width 5 --run c".split())
    with pytest.raises(SystemExit):
        main(f"{line} --trainer.callbacks.to runs/c/checkpoints/last.ckpt --run refused".split())
    assert "Distances: network.fc1.weight is (5, 2352)" in capsys.readouterr().err
    assert not Path("runs/refused").exists()


class Unfreezes(Callback):
    """Trains a layer more from the second epoch on, as finetuning does."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let it be trained."""
        pl_module.get_submodule("network.0").requires_grad_(trainer.current_epoch > 0)


def test_a_failure_costs_a_row(tmp_path: Path) -> None:
    """Training goes on, and the row says why."""
    network = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    network[0].requires_grad_(False)
    distances = Distances()
    with pytest.warns(UserWarning, match="distances of epoch 2 failed, and training goes on"):
        fit(tmp_path, network, Unfreezes(), distances)
    assert distances.table.at(2)[0]["value"].startswith("failed: RuntimeError")
    assert distances.accuracies(2) == {}
    assert len(distances.table.at(1)) == 6


@pytest.mark.parametrize(
    ("options", "said_"),
    [
        ({"every_n_epochs": 0}, "every_n_epochs must be 1 or more, got 0"),
        ({"epochs": [-1]}, "epochs must be numbers from 0"),
        ({"to": ["a.ckpt", "a.ckpt"]}, "to has a.ckpt twice"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], said_: str) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=said_):
        Distances(**options)
