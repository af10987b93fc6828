"""An experiment with every key that steps which measure have, run whole; and one that is wrong in each."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope import load_runs
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Quantity
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.measured import check_columns, column_rows
from stratoscope.results import load_run

STEPS = Path(__file__).with_name("steps.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all of it has run."""
    folder = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
            patch.delenv(name, raising=False)
        main(["reproduce", str(STEPS), "--jobs", "2"])
        yield next((folder / "runs").glob("*/full"))


def numbers(folder: Path, name: str) -> list[dict[str, str]]:
    """The numbers of a figure, or the table."""
    with (folder / "report" / f"{name}.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def test_measuring_steps_wait_for_what_they_measure(folder: Path) -> None:
    """They validate, come later, and know the solutions between which they look."""
    runs = planned_runs(read_experiment(str(STEPS)), "full", "runs")
    assert [run.command for run in runs] == ["fit"] * 6 + ["validate"] * 5
    last = runs[-1]
    assert (last.name, last.needs) == ("SGD__triangle__0", ("SGD__train__0", "momentum__train__0", "Adam__train__0"))
    assert all(run.needs == () for run in runs[:6])
    assert load_run(folder / "SGD__path__0").command == "validate"


def test_quantities_are_those_of_the_tables(folder: Path) -> None:
    """Row by row; the barrier is the largest excess, with the error of the differences."""
    table = {(row["optimizer"], row["step"]): row for row in numbers(folder, "table")}
    rows = [load_run(folder / f"SGD__path__{seed}").tables["path"].rows for seed in (0, 1)]
    tops = [max(row["excess"] or 0 for row in of if row["split"] == "test") for of in rows]
    assert float(table["SGD", "path"]["test barrier"]) == pytest.approx(sum(tops) / 2)
    assert float(table["SGD", "path"]["test barrier, margin"]) > 0
    ends = [row["loss"] for of in rows for row in of if (row["split"], row["alpha"]) == ("test", 0.0)]
    assert float(table["SGD", "path"]["loss at SGD"]) == pytest.approx(sum(ends) / 2)
    assert table["SGD", "train"]["test barrier"] == table["SGD", "path"]["norm"] == ""
    norms = [
        row["value"]
        for seed in (0, 1)
        for row in load_run(folder / f"Adam__train__{seed}").tables["distances"].rows
        if (row["epoch"], row["layer"], row["measure"]) == (2, "(all)", "norm")
    ]
    assert float(table["Adam", "train"]["norm"]) == pytest.approx(sum(norms) / 2)
    assert float(table["Adam", "train"]["rank"]) > 0


def test_correlations_are_judged(folder: Path) -> None:
    """Over all runs, within each label (too few runs: unclear), and over counterparts."""
    verdicts = {one["claim"]: one for one in json.loads((folder / "report/verdicts.json").read_text())}
    (over_all,) = verdicts["Longer weights go with fewer errors"]["numbers"].items()
    assert over_all[0] == "(6 runs in 3 groups)"
    assert -1 <= over_all[1]["mean"] <= 1
    assert over_all[1]["low"] is None  # of three groups
    within = verdicts["and within each optimiser"]
    assert within["verdict"] == "unclear"
    assert list(within["numbers"]) == [f"{name} (2 runs in 1 group)" for name in ("SGD", "momentum", "Adam")]
    assert within["bounds"] == "at most 0 within each optimizer"
    assert verdicts["Barriers go with the way"]["verdict"] == "unclear"
    assert "Spearman&#39;s correlation of test error with norm" in (folder / "report.html").read_text()


def test_every_figure_has_its_numbers(folder: Path) -> None:
    """And a picture."""
    lines = numbers(folder, "lines")
    assert {row["line"] for row in lines} == {"SGD", "momentum"}
    assert (
        len([row for row in lines if row["training loss"]]) == 2 * 2 * 7  # five, and both ends
    )  # both ends are among 5 points, and one more
    assert len(numbers(folder, "map")) == 10
    assert len(numbers(folder, "scatter")) == 6
    across = numbers(folder, "across")
    ways = {row["optimizer"]: float(row["way"]) for row in across if row["seed"] == "0"}
    rows = load_run(folder / "SGD__train__0").tables["distances"].rows
    assert ways["SGD"] == max(row["value"] for row in rows if (row["layer"], row["measure"]) == ("(all)", "trajectory"))
    for name in ("lines", "density", "map", "scatter", "across"):
        assert (folder / "report" / f"{name}.png").stat().st_size > 8000


def test_tables_are_in_load_runs(folder: Path) -> None:
    """With the places on the path, the end at 0 among them."""
    frame = load_runs(folder)
    path = frame[(frame.source == "path") & (frame.name == "loss") & (frame.run == "SGD__path__0")]
    assert sorted(path.loc[path.split == "test", "alpha"]) == [-1.0, -0.25, 0.0, 0.5, 1.0, 1.25, 2.0]
    assert set(frame[frame.source == "distances"].measure if "measure" in frame else frame["name"]) >= {"norm"}


def test_a_dry_run_knows_measuring_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their time too, before there is anything to measure."""
    monkeypatch.chdir(tmp_path)
    main(["reproduce", str(STEPS), "--dry-run"])
    out = capsys.readouterr().out
    assert "11 runs in" in out
    assert "SGD__triangle__0" in out
    assert not (tmp_path / "runs").exists()


def changed(path: list[Any], value: Any, tmp_path: Path) -> Path:
    """The experiment with one value changed, or (None) taken away."""
    whole = yaml.safe_load(STEPS.read_text())
    place = whole
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    file = tmp_path / "wrong" / "steps.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    return file


WRONG: dict[str, tuple[list[Any], Any, str]] = {
    "command": (["axes", "step", "path", "command"], "test", "axes: step: path: no command 'test'"),
    "two of three": (["quantities", "norm", "metric"], "test/loss", "norm needs metric, probe or column, one of them"),
    "column": (["quantities", "training loss", "column"], "los", "no column los; did you mean loss?"),
    "column of where": (["quantities", "training loss", "where"], {"spilt": "train"}, "no column spilt"),
    "column that is no value": (["quantities", "training loss", "column"], "split", "split is no value"),
    "list in where": (["quantities", "training loss", "where"], {"split": ["a"]}, "where has one value for each"),
    "epoch in where": (["quantities", "training loss", "where"], {"epoch": 1}, "give at_epoch"),
    "barrier of an accuracy": (["quantities", "test barrier", "column"], "accuracy", "barrier is of the column loss"),
    "barrier of a metric": (["quantities", "test error", "take"], "barrier", "take: barrier is for a column"),
    "where of a metric": (["quantities", "test error", "where"], {"split": "test"}, "where is for a column"),
    "correlation": (["claims", 1, "correlation"], "spearmann", "no correlation 'spearmann'; did you mean 'spearman'?"),
    "against": (["claims", 1, "against"], "nrom", "no quantity 'nrom'; did you mean 'norm'?"),
    "against itself": (["claims", 1, "against"], "test error", "a correlation is of two quantities"),
    "against without correlation": (["claims", 0, "against"], "norm", "against, against_of and each are for"),
    "each": (["claims", 2, "each"], "optimiser", "no axis 'optimiser'; did you mean 'optimizer'?"),
    "against_of": (["claims", 3, "against_of"], {"step": "trian"}, "no label of step 'trian'"),
    "correlation without bounds": (["claims", 1, "at_most"], None, "needs at_least or at_most"),
    "lines without x": (["figures", "lines", "x"], None, "lines needs x"),
    "x of lines": (["figures", "lines", "x"], "alhpa", "no column 'alhpa'; did you mean 'alpha'?"),
    "second": (["figures", "lines", "second"], "loss", "no quantity 'loss'"),
    "lines of a metric": (["figures", "lines", "quantity"], "test error", "lines needs a quantity that is a column"),
    "map without y": (["figures", "map", "y"], None, "map needs y"),
    "marks": (["figures", "map", "marks"], {"SGD": [0]}, "marks: SGD must be [x, y], got [0]"),
    "marks of lines": (["figures", "lines", "marks"], {"SGD": [0, 0]}, "lines has no marks"),
    "scatter without against": (["figures", "scatter", "against"], None, "scatter needs against"),
    "several counterparts": (["claims", 3, "against_of"], {"step": "all"}, "against_of names one label of each axis"),
    "each seed": (["claims", 2, "each"], "seed", "each cannot be seed"),
    "map of one column": (["figures", "map", "y"], "alpha", "x and y are the same column, alpha"),
    "x that is no number": (["figures", "lines", "x"], "split", "x: split is no number"),
    "second of another table": (["figures", "lines", "second"], "norm", "second must be of the same table"),
    "lines of many labels": (["figures", "lines", "lines"], None, "lines is of one label of optimizer"),
    "a run that is not in the plan": (["runs", 0, "optimizer"], ["SGD", "momentum"], "which is not in the plan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_means_nothing_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    """Before the first run."""
    path, value, said = WRONG[case]
    with pytest.raises(Refused) as refusal:
        planned_runs(read_experiment(str(changed(path, value, tmp_path))), "full", "runs")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


AFTER: dict[str, tuple[dict[str, Any], str]] = {
    "no such table": ({"table": "pahts"}, "no run has left a table pahts; did you mean path?"),
    "no such value": ({"where": {"split": "tset"}}, "no row of path.csv has split tset; did you mean test?"),
}


@pytest.mark.parametrize("case", AFTER)
def test_what_no_run_has_is_named(case: str, folder: Path) -> None:
    """When all have finished."""
    options, said = AFTER[case]
    given: dict[str, Any] = {"column": "loss", "table": "path", "where": {"split": "test"}, **options}
    quantity = Quantity(**given)
    records = [load_run(path) for path in sorted(folder.glob("*__*")) if path.is_dir()]
    with pytest.raises(Refused, match=said):
        check_columns(quantity, records)


def test_several_rows_are_not_one_number(folder: Path) -> None:
    """What tells them apart is named, with what there is."""
    run = load_run(folder / "SGD__path__0")
    with pytest.raises(Refused, match=r"path\.csv of run SGD__path__0 has 7 rows .*: give alpha .* in where"):
        column_rows(run, Quantity(column="loss", table="path", where={"split": "test"}))
    with pytest.raises(Refused, match=r"has no column los; did you mean loss\?"):
        column_rows(run, Quantity(column="los", table="path"))
