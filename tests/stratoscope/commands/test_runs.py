"""Tests of stratoscope/commands/runs.py: `ls`, `show` and `best`, on runs that were written down by hand."""

import json
from pathlib import Path

import pytest

from stratoscope.commands.runs import best, check_metric, chosen, ls, parser, read, show
from stratoscope.errors import Refused
from stratoscope.results.record import load_run

LOSSES = {"first": [2.0, 0.5, 1.0], "deep/second": [3.0, 0.25, 0.75], "other": [1.0, 1.5, 1.25]}
CONFIG = "model: {class_path: stratoscope.models.MLP}\ntrainer: {max_epochs: 2}\n"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs, begun in this order, in `runs` of the working directory."""
    monkeypatch.chdir(tmp_path)
    for second, (name, losses) in enumerate(LOSSES.items()):
        folder = Path("runs", name)
        folder.mkdir(parents=True)
        record = {"started": f"2026-01-02T03:04:0{second}+00:00", "status": "finished", "asked": {"command": "fit"}}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text(CONFIG)
        rows = [f"{epoch},{epoch},{loss},{1 - loss / 4}" for epoch, loss in enumerate(losses)]
        (folder / "metrics.csv").write_text("\n".join(["epoch,step,test/loss,test/accuracy", *rows, ""]))
    return Path("runs")


def names(capsys: pytest.CaptureFixture[str], head: int, column: int = 0) -> list[str]:
    """The runs in a table that was printed, below its head."""
    return [line.split()[column] for line in capsys.readouterr().out.splitlines()[head:]]


def test_runs_are_listed_in_the_order_they_began(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or by the last value of a metric, best first: of a loss the smallest."""
    assert ls(["ls"]) == 0
    assert names(capsys, 2) == ["first", "deep/second", "other"]
    ls(["ls", "runs", "--sort", "test/loss"])
    assert names(capsys, 2) == ["deep/second", "first", "other"]
    ls(["ls", "runs", "--sort", "test/accuracy"])
    assert names(capsys, 2) == ["deep/second", "first", "other"]


def test_runs_are_ranked_by_their_best_epoch(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by the last one; of an accuracy the largest is best, with --min the smallest."""
    assert best(["best", "test/loss"]) == 0
    assert names(capsys, 3, 1) == ["deep/second", "first", "other"]
    best(["best", "test/accuracy", "--n", "1"])
    assert names(capsys, 3, 1) == ["deep/second"]
    best(["best", "test/accuracy", "--min"])
    assert names(capsys, 3, 1) == ["deep/second", "first", "other"]


@pytest.mark.parametrize("name", ["second", "deep/second", "sec", "runs/deep/second", "runs/deep/second/"])
def test_a_run_is_found_by_any_name_that_no_other_has(name: str, runs: Path) -> None:
    """Its own, a part of it, its path below the folder, or its path."""
    assert chosen(name, "runs").path.resolve() == (runs / "deep" / "second").resolve()


def test_a_whole_name_is_meant_before_a_part(runs: Path) -> None:
    """Else a run could not be named whose name is in another's."""
    (runs / "other").rename(runs / "first_again")
    assert chosen("first", "runs").name == "first"
    with pytest.raises(Refused, match=r"^show: 2 runs have 'irst' in their name: first, first_again$"):
        chosen("irst", "runs")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("secnd", "show: there is no run 'secnd' in runs; did you mean second?"),
        ("zzz", "show: there is no run 'zzz' in runs; there are deep/second, first, other"),
        ("", "show: 3 runs have '' in their name: deep/second, first, other"),
    ],
)
def test_a_run_that_there_is_not_is_refused(name: str, said: str, runs: Path) -> None:
    """With the nearest, or all there are."""
    with pytest.raises(Refused) as refusal:
        chosen(name, "runs")
    assert str(refusal.value) == said


def test_a_damaged_run_is_named_and_the_others_are_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` of it is refused."""
    (runs / "first" / "metrics.csv").write_text("epoch,step\n1\n")
    found, damaged = read("runs")
    assert list(found) == ["deep/second", "other"]
    assert [str(error).split()[0] for error in damaged] == ["runs/first"]
    ls(["ls"])
    assert "left out  runs/first is no run, or damaged" in capsys.readouterr().out
    with pytest.raises(Refused, match=r"^show: runs/first is no run, or damaged"):
        show(["show", "first"])


def test_show_says_what_a_run_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From another folder of runs."""
    runs.rename("elsewhere")
    assert show(["show", "deep", "--runs", "elsewhere"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("second\n")
    assert "finished, 2/2 epochs" in printed


def test_a_metric_that_no_run_has_is_refused(runs: Path) -> None:
    """With the nearest; those of probes, which are many, are not listed."""
    found, _ = read("runs")
    check_metric("best", "test/loss", found)
    for metric, said in (
        ("test/los", "best: no run has a metric test/los; did you mean test/loss?"),
        ("x", "best: no run has a metric x; there are test/loss, test/accuracy"),
    ):
        with pytest.raises(Refused) as refusal:
            check_metric("best", metric, found)
        assert str(refusal.value) == said
    file = runs / "other" / "metrics.csv"
    file.write_text(file.read_text().replace("test/accuracy", "probe/true_label/test/conv1"))
    with pytest.raises(Refused, match=r"there are test/loss$"):
        check_metric("best", "x", {"other": load_run(runs / "other")})


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (ls, ["ls", "nosuch"], "there is no folder nosuch"),
        (ls, ["ls", "empty"], "ls: there are no runs in empty"),
        (best, ["best", "test/loss", "empty"], "best: there are no runs in empty"),
        (best, ["best", "test/loss", "--n", "0"], "best: --n must be 1 or more, got 0"),
        (show, ["show", "x", "--runs", "empty"], "show: there is no run 'x' in empty"),
    ],
)
def test_what_cannot_be_shown_is_refused(command: object, words: list[str], said: str, runs: Path) -> None:
    """Folders without runs, and fewer runs than one."""
    Path("empty").mkdir()
    assert callable(command)
    with pytest.raises(Refused) as refusal:
        command(words)
    assert str(refusal.value) == said


def test_a_run_in_a_folder_that_is_given_itself_has_its_name(runs: Path) -> None:
    """`ls runs/first` is about that run."""
    assert list(read("runs/first")[0]) == ["first"]


def test_options_are_those_of_each_command() -> None:
    """What one takes the others refuse."""
    assert parser("ls").parse_args([]).folder == "runs"
    assert parser("best").parse_args(["m", "--min"]).min
    for command, words in (("ls", ["--min"]), ("show", ["x", "--sort", "m"]), ("best", ["m", "--sort", "m"])):
        with pytest.raises(Refused, match=f"^{command}: unknown option"):
            parser(command).parse_args(words)
