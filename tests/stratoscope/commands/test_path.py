"""Tests of stratoscope/commands/path.py: what it is short for."""

import json
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.path import validation
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.results import load_run


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five directories with a checkpoint, as far as can be seen from outside, and one without."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    for name in "abcde":
        Path(f"runs/{name}/checkpoints").mkdir(parents=True)
        Path(f"runs/{name}/checkpoints/last.ckpt").touch()
    Path("runs/begun").mkdir()


def callback(line: list[str]) -> dict[str, Any]:
    """The options of the callback in a command line."""
    ((one),) = (json.loads(line[line.index("--trainer.callbacks") + 1]),)
    assert one[0]["class_path"] == "LossPath"
    options: dict[str, Any] = one[0]["init_args"]
    return options


@pytest.mark.parametrize(("count", "kind"), [(1, "plane"), (2, "straight"), (3, "triangle"), (4, "quadrilateral")])
def test_the_number_of_runs_decides(count: int, kind: str) -> None:
    """The first is validated, the others are the ends; the result lies beside them."""
    runs = [f"runs/{name}" for name in "abcd"[:count]]
    line = validation(["path", *runs])
    assert line[:3] == ["validate", "--ckpt_path", "runs/a/checkpoints/last.ckpt"]
    assert callback(line)["path"] == kind
    assert callback(line).get("to", []) == [f"{run}/checkpoints/last.ckpt" for run in runs[1:]]
    assert line[-4:] == ["--run", "-".join([kind, *"abcd"[:count]]), "--runs", "runs"]


def test_results_have_names_of_their_own() -> None:
    """Of runs with dots, of two checkpoints of one run, and of other options."""
    for name in ("lr0.1", "lr0.2"):
        Path(f"runs/{name}/checkpoints").mkdir(parents=True)
        Path(f"runs/{name}/checkpoints/last.ckpt").touch()
    Path("runs/a/checkpoints/epoch=1.ckpt").touch()
    named = [
        ["runs/lr0.1", "runs/lr0.2"],
        ["runs/a/checkpoints/epoch=1.ckpt", "runs/a"],
        ["runs/a", "runs/b", "--points", "3"],
    ]
    lines = [validation(["path", *words]) for words in named]
    assert [line[line.index("--run") + 1] for line in lines] == [
        "straight-lr0.1-lr0.2", "straight-a-epoch-1-a-last", "straight-a-b-points3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    ["--trainer.accelerator cpu runs/a runs/b", "runs/a --trainer.accelerator cpu runs/b", "runs/a --points 25 runs/b"],
)
def test_options_may_stand_anywhere(words: str) -> None:
    """Before the runs, and between them."""
    line = validation(["path", *words.split()])
    assert callback(line)["to"] == ["runs/b/checkpoints/last.ckpt"]
    assert ("--trainer.accelerator" in line) == ("cpu" in line)


def test_options_go_where_they_belong() -> None:
    """Those of the path to the callback, others to validate; a name of one's own is kept, and so is a checkpoint."""
    more = ["--points", "5", "--low=-0.5", "--curved", "--batch_norm", "recomputed", "--run", "mine"]
    line = validation(["path", "runs/a/checkpoints/last.ckpt", "runs/b", *more, "--trainer.accelerator", "cpu"])
    given = {"path": "curved", "points": 5, "low": -0.5, "batch_norm": "recomputed"}
    assert callback(line) == {**given, "to": ["runs/b/checkpoints/last.ckpt"]}
    assert line[-6:] == ["--runs", "runs", "--run", "mine", "--trainer.accelerator", "cpu"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/a", "runs/none"], "path: there is no run runs/none"),
        (["runs/begun"], "path: there is no checkpoint runs/begun/checkpoints/last.ckpt"),
        ([f"runs/{name}" for name in "abcde"], "path: at most four runs, got 5"),
        (["runs/a", "runs/b", "runs/c", "--curved"], "path: --curved is for two runs, got 3"),
        ([], "path: missing: RUN"),
    ],
)
def test_what_is_no_path_is_refused(words: list[str], said: str) -> None:
    """In one line."""
    with pytest.raises(Refused, match=said):
        validation(["path", *words])


def test_a_path_between_two_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command; its ends are what the runs have written down themselves."""
    fit = "fit --model MLP --model.width 4 --data Digits --trainer.max_epochs 1 --trainer.accelerator cpu --threads 1"
    for name, seed in (("one", 0), ("two", 1)):
        main(f"{fit} --seed_everything {seed} --run {name}".split())
    main("path runs/one runs/two --points 4 --trainer.accelerator cpu".split())
    assert "path/true_label/train: barrier " in capsys.readouterr().out
    run = load_run("runs/straight-one-two-points4")
    for name, alpha in (("one", 0.0), ("two", 1.0)):
        (row,) = (row for row in run.tables["path"].rows if (row["split"], row["alpha"]) == ("test", alpha))
        trained = load_run(f"runs/{name}")
        assert row["loss"] == pytest.approx(trained.last("test/loss"), abs=1e-6)
        assert row["accuracy"] == pytest.approx(trained.last("test/accuracy"), abs=1e-6)
