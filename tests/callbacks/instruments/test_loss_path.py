"""Tests of callbacks/instruments/loss_path.py: the loss between solutions, with nothing changed by looking."""

from math import inf, isnan
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from stratoscope.callbacks import LossPath
from stratoscope.files.table import read_table
from stratoscope.probes.giving_up import given_up_by
from tests.callbacks.small_layers import Module, loader

DATA, TESTS = loader(128), loader(60)


def network(norm: bool = True) -> nn.Sequential:
    """A few layers, some of them with running statistics."""
    middle: list[nn.Module] = [nn.BatchNorm1d(12)] if norm else []
    return nn.Sequential(nn.Linear(8, 12), *middle, nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3))


def trainer(folder: Path, *callbacks: Any, **options: Any) -> Trainer:
    """Without anything that it need not have."""
    quiet: dict[str, Any] = dict.fromkeys(
        ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, callbacks=list(callbacks), **quiet, **options
    )


@pytest.fixture(scope="module")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Module, str]]:
    """Four networks of different seeds, trained, and their checkpoints."""
    folder, found = tmp_path_factory.mktemp("solutions"), []
    for seed in range(4):
        torch.manual_seed(seed)
        module, run = Module(network()), trainer(folder, max_epochs=3, num_sanity_val_steps=0)
        run.fit(module, DATA, TESTS)
        run.save_checkpoint(folder / f"{seed}.ckpt")
        found.append((module, str(folder / f"{seed}.ckpt")))
    return found


def measured(folder: Path, module: Module, path: LossPath) -> list[dict[str, Any]]:
    """The table, after a validation of a network whose module gives its training set too."""
    module.train_dataloader = lambda: DATA  # type: ignore[method-assign]
    trainer(folder, path).validate(module, TESTS, verbose=False)
    table = read_table(folder / path.files.path("path.csv").name)
    assert table is not None
    return table.rows


def by_hand(module: nn.Module, batches: Any) -> tuple[float, float]:
    """Loss and accuracy of a network on a set."""
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        logits: Tensor = module.eval()(x).double()
    return float(nn.functional.cross_entropy(logits, y)), float((logits.argmax(1) == y).double().mean())


def at(rows: list[dict[str, Any]], split: str, alpha: float, beta: float | None = None) -> dict[str, Any]:
    """The row of a point."""
    (row,) = (row for row in rows if (row["split"], row["alpha"], row["beta"]) == (split, alpha, beta))
    return row


def test_ends_have_what_they_had_and_middle_points_what_interpolated_weights_have(
    solutions: list[tuple[Module, str]], tmp_path: Path
) -> None:
    """Loss and accuracy of training and test set; the excess is the loss less the line between the ends."""
    (here, _), (there, file), *_ = solutions
    rows = measured(tmp_path, here, LossPath(file, points=7))
    assert [row["alpha"] for row in rows[::2]] == [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    middle = Module(network())
    ends = [here.state_dict(), there.state_dict()]
    mean = {name: (a.double() + ends[1][name].double()) / 2 for name, a in ends[0].items()}
    middle.load_state_dict({name: one.to(ends[0][name].dtype) for name, one in mean.items()})
    for split, batches in (("train", DATA), ("val", TESTS)):
        for module, alpha in ((here, 0.0), (there, 1.0), (middle, 0.5)):
            row = at(rows, split, alpha)
            loss, accuracy = by_hand(module, batches)
            assert row["loss"] == pytest.approx(loss, abs=1e-6)
            assert row["accuracy"] == pytest.approx(accuracy)
            assert row["count"] == len(batches.dataset)  # type: ignore[arg-type]
        line = (at(rows, split, 0.0)["loss"] + at(rows, split, 1.0)["loss"]) / 2
        assert at(rows, split, 0.5)["excess"] == pytest.approx(at(rows, split, 0.5)["loss"] - line, abs=1e-9)
        assert at(rows, split, 0.0)["excess"] == at(rows, split, 1.0)["excess"] == 0.0
        assert at(rows, split, 2.0)["excess"] is None


def test_the_error_of_an_excess_is_that_of_differences(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """Sample by sample, as the same samples are looked at everywhere."""
    (here, _), (there, file), *_ = solutions
    row = at(measured(tmp_path, here, LossPath(file, points=3, low=0.0, high=1.0)), "val", 0.5)
    x, y = (torch.cat(parts) for parts in zip(*TESTS, strict=True))
    middle = Module(network())
    mine, theirs = here.state_dict(), there.state_dict()
    middle.load_state_dict(
        {name: mine[name] + (theirs[name] - mine[name]) / 2 for name in mine if "batches" not in name}, strict=False
    )
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(one.eval()(x).double(), y, reduction="none") for one in (here, there, middle)
        ]
    excess = losses[2] - (losses[0] + losses[1]) / 2
    assert row["excess_error"] == pytest.approx(float(excess.std()) / len(x) ** 0.5, rel=1e-4)
    assert row["loss_error"] == pytest.approx(float(losses[2].std()) / len(x) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("path", "batch_norm"),
    [
        ("straight", "recomputed"),
        ("curved", "interpolated"),
        ("triangle", "interpolated"),
        ("quadrilateral", "recomputed"),
        ("plane", "interpolated"),
    ],
)
def test_a_network_is_left_as_it_was(
    path: Any, batch_norm: Any, solutions: list[tuple[Module, str]], tmp_path: Path
) -> None:
    """Weights, buffers, modes, gradients and generators, to the bit; and a picture is there."""
    ends = {"straight": 1, "curved": 1, "triangle": 2, "quadrilateral": 3, "plane": 0}[path]
    module = solutions[0][0]
    before = {name: one.clone() for name, one in module.state_dict().items()}
    torch.manual_seed(7)
    trainer(tmp_path).validate(module, TESTS, verbose=False)
    modes, generator = [part.training for part in module.modules()], torch.get_rng_state()
    torch.manual_seed(7)
    files = [file for _, file in solutions[1 : 1 + ends]]
    rows = measured(tmp_path, module, LossPath(files, path=path, points=4, batch_norm=batch_norm))
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert {row["batch_norm"] for row in rows} == {batch_norm}
    assert not any(row["failed"] for row in rows)
    assert (tmp_path / "path.png").stat().st_size > 5000


def test_a_path_to_itself_is_flat_to_the_bit(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """And said to be one between two networks of the same weights."""
    module, file = solutions[0]
    with pytest.warns(UserWarning, match="two ends of the straight path have the same weights"):
        rows = measured(tmp_path, module, LossPath(file))
    for split in ("train", "val"):
        assert len({row["loss"] for row in rows if row["split"] == split}) == 1
    assert all(abs(row["excess"]) < 1e-12 for row in rows if row["excess"] is not None)


def test_the_same_path_from_the_other_end(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """Has the same losses, to rounding, in the other order."""
    (here, first), (there, second), *_ = solutions
    one = measured(tmp_path / "a", here, LossPath(second, points=5, low=0.0, high=1.0))
    other = measured(tmp_path / "b", there, LossPath(first, points=5, low=0.0, high=1.0))
    assert [row["loss"] for row in one[::2]] == pytest.approx([row["loss"] for row in other[::2]][::-1], rel=1e-5)


def test_recomputed_statistics_are_those_of_the_training_set(
    solutions: list[tuple[Module, str]], tmp_path: Path
) -> None:
    """Also at the ends, whose losses differ from those with their running statistics."""
    module, file = solutions[1][0], solutions[0][1]
    rows = measured(tmp_path, module, LossPath(file, points=2, batch_norm="recomputed"))
    again = Module(network())
    again.load_state_dict(module.state_dict())
    x, _ = (torch.cat(parts) for parts in zip(*DATA, strict=True))
    with torch.no_grad():
        hidden = again.get_submodule("network.0")(x)
        parts, norm = (hidden[:125], hidden[125:]), again.get_submodule("network.1")
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(torch.stack([len(part) / 128 * part.mean(0) for part in parts]).sum(0))
        norm.running_var.copy_(torch.stack([len(part) / 128 * part.var(0) for part in parts]).sum(0))
    assert at(rows, "val", 0.0)["loss"] == pytest.approx(by_hand(again, TESTS)[0], abs=1e-6)
    assert at(rows, "val", 0.0)["loss"] != pytest.approx(by_hand(module, TESTS)[0], abs=1e-6)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no end": ({}, "a straight path goes from the network to 1 other end; to names 0"),
    "an end too many": ({"to": ["a", "b"]}, "to 1 other end; to names 2"),
    "a triangle of two": ({"to": "a", "path": "triangle"}, "a triangle path goes from the network to 2 other ends"),
    "an end for a plane": ({"to": "a", "path": "plane"}, "to 0 other ends; to names 1"),
    "a kind that is none": ({"to": "a", "path": "circle"}, "path must be one of straight, curved, triangle"),
    "too few points": ({"to": "a", "points": 1}, "points must be 2 or more, got 1"),
    "an empty span": ({"to": "a", "low": 1.0, "high": 1.0}, "low must be less than high, got 1 and 1"),
    "a span without an end": ({"to": "a", "high": inf}, "low must be less than high"),
    "a span of a triangle": ({"to": ["a", "b"], "path": "triangle", "low": 0.0}, "low and high are for paths"),
    "unknown statistics": ({"to": "a", "batch_norm": "batch"}, "batch_norm must be interpolated or recomputed"),
    "too few samples": ({"to": "a", "train_samples": 1}, "train_samples must be 2 or more, got 1"),
    "a seed below 0": ({"to": "a", "seed": -1}, "seed must be 0 or more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_path_is_refused(case: str) -> None:
    """When it is made."""
    options, said = WRONG[case]
    with pytest.raises(ValueError, match=said):
        LossPath(**options)


def test_ends_that_are_no_solutions_are_refused(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """Another network, by the name of its first layer that differs; a loss that is not finite; no file at all."""
    module = solutions[0][0]
    state = {name: one.clone() for name, one in module.state_dict().items()}
    torch.save({**state, "network.4.weight": torch.zeros(3, 9)}, tmp_path / "other.pt")
    torch.save({**state, "network.4.bias": torch.full((3,), float("nan"))}, tmp_path / "nan.pt")
    torch.save({"network.0.weight": torch.zeros(12, 8)}, tmp_path / "less.pt")
    for name, said in {
        "other.pt": r"LossPath: network\.4\.weight is \(3, 9\) in .*, \(3, 12\) in the model",
        "less.pt": r"LossPath: network\.0\.bias is missing in .*less\.pt",
        "nan.pt": r"LossPath: the train loss of .*nan\.pt is nan",
        "none.pt": r"LossPath: no file .*none\.pt",
    }.items():
        with pytest.raises(ValueError, match=said):
            measured(tmp_path, module, LossPath(str(tmp_path / name)))
    assert not (tmp_path / "path.csv").exists()
    assert all(torch.equal(one, state[name]) for name, one in module.state_dict().items())


class Fragile(Module):
    """Fails while its first weight has the sign of a path's middle."""

    fails = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits, where it does not fail."""
        if self.fails and float(self.get_parameter("network.0.bias")[0]) < 0:
            raise RuntimeError("too little memory")
        return super().forward(x)


def test_a_failure_costs_the_rows_of_its_point(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """They say why, and the others are there."""
    module = Fragile(network())
    module.load_state_dict(solutions[0][0].state_dict())
    with torch.no_grad():
        module.get_parameter("network.0.bias")[0] = 1.0
        torch.save(module.state_dict(), tmp_path / "end.pt")
    module.fails = True
    with torch.no_grad():
        module.get_parameter("network.0.bias")[0] = 0.5
    with pytest.warns(UserWarning, match="rows of the path failed: RuntimeError: too little memory"):
        rows = measured(tmp_path, module, LossPath(str(tmp_path / "end.pt"), points=5, low=-2.0))
    assert {row["alpha"] for row in rows if row["failed"]} == {-2.0}
    assert all(row["loss"] is None for row in rows if row["failed"])
    assert all(row["loss"] is not None for row in rows if not row["failed"])


class Enough(BaseException):
    """Whoever waits has had enough."""


def test_a_path_that_is_given_up_leaves_the_network(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """As it was, in the middle of it."""
    module, (_, file) = solutions[0][0], solutions[1]
    before, asked = {name: one.clone() for name, one in module.state_dict().items()}, 0

    def give_up(_: bool) -> None:
        nonlocal asked
        asked += 1
        if asked == 20:
            raise Enough

    given_up_by(give_up)
    try:
        with pytest.raises(Enough):
            measured(tmp_path, module, LossPath(file))
    finally:
        given_up_by(None)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


def test_samples_without_a_label_are_left_out(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """And counted."""
    x, y = TESTS.dataset.tensors  # type: ignore[attr-defined]
    some = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.where(torch.arange(60) < 9, -1, y)), 16)
    module, (_, file) = solutions[0][0], solutions[1]
    module.train_dataloader = lambda: DATA  # type: ignore[method-assign]
    trainer(tmp_path, LossPath(file, points=2)).validate(module, some, verbose=False)
    table = read_table(tmp_path / "path.csv")
    assert table is not None
    row = at(table.rows, "val", 0.0)
    assert row["count"] == 51
    with torch.no_grad():
        logits = module.eval()(x[9:]).double()
    assert row["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, y[9:])), abs=1e-6)


def test_in_training_the_last_network_is_measured(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """Once, after the last epoch; what does not fit is refused before the first step."""
    torch.manual_seed(9)
    module, file = Module(network()), solutions[0][1]
    path = LossPath(file, points=2)
    trainer(tmp_path, path, max_epochs=2, num_sanity_val_steps=0).fit(module, DATA, TESTS)
    assert {row["epoch"] for row in path.table.rows} == {2}
    assert at(path.table.rows, "train", 0.0)["loss"] == pytest.approx(by_hand(module, DATA)[0], abs=1e-6)
    assert set(path.accuracies(2)) == {"path/true_label/train/barrier", "path/true_label/val/barrier"}
    assert not any(isnan(value) for value in path.accuracies(2).values())
    other = Module(network(norm=False))
    with pytest.raises(ValueError, match="LossPath: "):
        trainer(tmp_path, LossPath(file), max_epochs=2, num_sanity_val_steps=0).fit(other, DATA, TESTS)
    assert not other.trainer.global_step


def test_without_a_test_set_the_training_set_is_measured(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """In training, with validation off; a stored network would not be measured at all, which is refused."""
    torch.manual_seed(9)
    module, file = Module(network()), solutions[0][1]
    path = LossPath(file, points=2)
    trainer(tmp_path, path, max_epochs=1, limit_val_batches=0, num_sanity_val_steps=0).fit(module, DATA, TESTS)
    assert {row["split"] for row in path.table.rows} == {"train"}
    with pytest.raises(ValueError, match="limit_val_batches is 0: LossPath measures behind the last batch validated"):
        trainer(tmp_path, LossPath(file), limit_val_batches=0).validate(module, TESTS, verbose=False)


def test_a_barrier_that_is_not_known_everywhere_is_none(solutions: list[tuple[Module, str]]) -> None:
    """It may be at the point that failed; beyond the ends it does not matter."""
    path = LossPath(solutions[0][1], points=4)
    rows = [path._row(1, place, "test", "true_label", excess=0.1 if place.line else None) for place in path.places()]
    path.table.replace(1, rows)
    assert path.accuracies(1) == {"path/true_label/test/barrier": 0.1}
    for value in (None, inf, float("nan")):
        path.table.replace(1, [row | ({"excess": value} if row["alpha"] == 0.0 else {}) for row in rows])
        assert path.accuracies(1) == {}


def test_a_set_without_labels_is_said(solutions: list[tuple[Module, str]], tmp_path: Path) -> None:
    """Its rows have no numbers, and the table is written."""
    x, y = TESTS.dataset.tensors  # type: ignore[attr-defined]
    none = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.full_like(y, -1)), 16)
    module, (_, file) = solutions[0][0], solutions[1]
    module.train_dataloader = lambda: DATA  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="no sample has a label"):
        trainer(tmp_path, LossPath(file, points=2)).validate(module, none, verbose=False)
    table = read_table(tmp_path / "path.csv")
    assert table is not None
    assert all(row["loss"] is None for row in table.rows if row["split"] == "val")


def test_an_end_whose_tied_weights_differ_is_another_network(tmp_path: Path) -> None:
    """Its own loss would not be that at the end of the path."""
    module = Module(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)))
    module.network[1].weight = module.network[0].weight  # type: ignore[index]
    torch.save({**module.state_dict(), "network.1.weight": torch.zeros(8, 8)}, tmp_path / "untied.pt")
    with pytest.raises(ValueError, match=r"network\.1\.weight and network\.0\.weight are one weight in the model"):
        measured(tmp_path, module, LossPath(str(tmp_path / "untied.pt")))
