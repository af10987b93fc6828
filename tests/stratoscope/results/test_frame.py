"""Tests of stratoscope/results/frame.py: all numbers of all runs in one table; and what ls, show and best refuse."""

import csv
import gc
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope import load_runs
from stratoscope.commands.completion import completion_script
from stratoscope.commands.table import COMMANDS, main
from stratoscope.results.frame import DamagedRun, load_run


def table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line a command is refused with."""
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    answer = capsys.readouterr().err.strip().splitlines()
    assert (stop.value.code, len(answer)) == (2, 1)
    return answer[0]


def test_every_number_is_in_the_table_once(runs: Path) -> None:
    """The values of metrics.csv, of the chosen probes and of measures.csv, and nothing else."""
    frame: Any = load_runs(runs)
    assert set(frame.run) == {"random", "checked", "größe/δ/true"}
    for run in set(frame.run):
        one = frame[frame.run == run]
        names = ["source", "epoch", "name", "layer", "labels", "split", "value"]
        found = list(zip(*(one[name].astype(object).where(one[name].notna(), None) for name in names), strict=True))
        expected: list[tuple[object, ...]] = []
        for row in table(runs / run / "metrics.csv"):
            for name, cell in row.items():
                if cell and name not in {"epoch", "step"} and not name.startswith("probe/"):
                    at = int(float(row["epoch"])), name, None, None, name.split("/")[0]
                    expected.append(("metrics", *at, float(cell)))
        if run != "größe/δ/true":
            for row in table(runs / run / "probes.csv"):
                for name in ("accuracy", "loss") if row["chosen"] == "True" else ():
                    place = row["layer"], row["labels"], row["split"]
                    expected.append(("probes", int(row["epoch"]), name, *place, float(row[name])))
            for row in table(runs / run / "measures.csv"):
                rest = row["measure"], row["layer"], row["labels"] or None, row["split"]
                expected.append(("measures", int(row["epoch"]), *rest, float(row["value"])))
        assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert (frame.epoch.dtype, frame.value.dtype) == ("int64", "float64")
    last = frame[(frame.run == "random") & (frame.epoch == 2)]
    assert set(last.step) == {int(table(runs / "random" / "metrics.csv")[-1]["step"])}
    scores = frame[(frame.source == "probes") & (frame.name == "accuracy")]
    assert len(scores)
    assert bool(((scores.low <= scores.value) & (scores.value <= scores.high) & (scores.gap <= 1e-6)).all())


def test_settings_that_differ_are_columns(runs: Path) -> None:
    """Under the names of their options, beside network, data and corruption; null does not vanish in groups."""
    frame = load_runs(runs)
    settings = set(frame.columns[13:])
    expected = {"command", "model.depth", "data.corruption", "trainer.max_epochs", "trainer.callbacks"}
    assert expected <= settings
    assert {"model", "data"} <= settings
    assert {"model.width", "seed_everything", "data.corruption.seed"} & settings == set()
    fits = frame[(frame.command == "fit") & (frame.name == "test/accuracy")]
    assert fits.groupby(["data.corruption", "model.depth"]).size().to_dict() == {
        ("RandomLabels", 1): 2,
        ("none", 2): 3,
    }


@pytest.mark.parametrize(("run", "corruption"), [("random", "RandomLabels"), ("größe/δ/true", "none")])
def test_a_single_run_is_grouped_like_many(run: str, corruption: str, runs: Path) -> None:
    """Row C7: the README's line on a folder with one run, and on a run itself, with a corruption or without."""
    frame = load_runs(runs / run)
    by = frame[frame.name == "test/accuracy"].pivot_table(index="epoch", columns="data.corruption", values="value")
    assert list(by.columns) == [corruption]
    assert len(by) == load_run(runs / run).epochs
    assert (set(frame.model), set(frame.data)) == ({"MLP"}, {"Digits"})


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty record": lambda run: (run / "run.json").write_text(""),
    "record of something else": lambda run: (run / "run.json").write_text("[1]"),
    "record that is binary": lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"),
    "no config": lambda run: (run / "config.yaml").unlink(),
    "half a config": lambda run: (run / "config.yaml").write_text("model: {class_path: a"),
    "missing column": lambda run: (run / "metrics.csv").write_text("step,train/loss\n1,2\n"),
    "cut off": lambda run: (run / "metrics.csv").write_text("epoch,step,train/loss\n1,3,2\n2,6"),
    "no number": lambda run: (run / "metrics.csv").write_text("epoch,step,train/loss\n1,3,x\n"),
    "empty metrics": lambda run: (run / "metrics.csv").write_text(""),
    "empty probes": lambda run: (run / "probes.csv").write_text(""),
    "probes without epochs": lambda run: (run / "probes.csv").write_text("layer,accuracy\nfc1,1\n"),
    "table without layers": lambda run: (run / "probes.csv").write_text("epoch,accuracy\n0,1\n"),
    "folder for a file": lambda run: (
        (run / "metrics.csv").rename(run / "old") / (run / "checkpoints").rename(run / "metrics.csv")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_named_and_left_out(
    runs: Path, damage: str, said: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a warning in a notebook, below the table of `ls`, in one line of `show`; the others are there."""
    DAMAGE[damage](runs / "größe" / "δ" / "true")
    with pytest.warns(UserWarning, match="left out: .*true is no run, or damaged") as warned:
        assert set(load_runs(runs).run) == {"random", "checked"}
    assert len(warned) == 1
    with pytest.raises(DamagedRun):
        load_run(runs / "größe" / "δ" / "true")
    if "without" not in damage and "probes" not in damage:  # which `ls` does not read
        assert "left out  runs/größe/δ/true is no run, or damaged" in said("ls")
    assert "true is no run, or damaged" in refused("show δ", capsys)


def test_a_run_without_numbers_is_left_out_of_the_table(
    runs: Path, said: Callable[[str], str], record: Callable[..., None]
) -> None:
    """As in its first epoch; `ls` has it, and what predicts never had numbers to warn about."""
    (runs / "random" / "metrics.csv").unlink()
    (runs / "random" / "probes.csv").unlink()
    (runs / "random" / "measures.csv").unlink()
    with pytest.warns(UserWarning, match="random has no metrics yet"):
        assert "random" not in set(load_runs(runs).run)
    assert "random        finished     0/2" in said("ls")
    assert "finished, 0/2 epochs" in said("show random")
    record(runs / "random", asked={"command": "predict", "ckpt_path": None})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_runs(runs)


BAD = [
    ("show rndom", "show: there is no run 'rndom' in runs; did you mean random?"),
    ("show zzz", "there are checked, größe/δ/true, random"),
    ("show r", "show: 2 runs have 'r' in their name: größe/δ/true, random"),
    ("show", "show: missing: ID"),
    ("show random --runs nosuch", "there is no folder nosuch"),
    ("ls nosuch", "there is no folder nosuch"),
    ("ls --srt a", "ls: unknown option --srt; did you mean --sort?"),
    ("ls --sort test/acuracy", "--sort: no run has a metric test/acuracy; did you mean test/accuracy?"),
    ("ls a b", "ls: too many words: b"),
    ("best", "best: missing: METRIC"),
    ("best acc", "best: no run has a metric acc; there are test/accuracy"),
    ("best test/loss --n 0", "best: --n must be 1 or more, got 0"),
    ("best test/loss --n x", "best: --n: expected a whole number, got 'x'"),
    ("sho random", "did you mean show?"),
]


@pytest.mark.parametrize(("line", "part"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_answered_in_one_line(
    runs: Path, line: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what would be right."""
    assert part in refused(line, capsys)


def test_an_empty_folder_has_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """An empty table with its columns; a folder that is missing is an error; `ls` says so in one line."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    frame = load_runs()
    assert len(frame) == 0
    assert list(frame.columns[:4]) == ["run", "status", "source", "epoch"]
    assert list(frame.columns[-3:]) == ["model", "data", "data.corruption"]
    assert "ls: there are no runs in runs" in refused("ls", capsys)
    with pytest.raises(FileNotFoundError, match="there is no folder nosuch"):
        load_runs("nosuch")


def test_reading_runs_imports_neither_torch_nor_lightning(runs: Path) -> None:
    """A notebook and `ls` start at once; pandas is imported when it is used."""
    code = (
        "import sys, stratoscope, stratoscope.results.frame\n"
        "sys.argv = ['stratoscope', 'ls']\n"
        "from stratoscope.__main__ import main; main()\n"
        "print([name for name in ('pandas', 'torch', 'lightning') if name in sys.modules])\n"
        "print(len(stratoscope.load_runs()) > 0, 'torch' in sys.modules)\n"
        "print(hasattr(stratoscope, 'load_run'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["[]", "True False", "False"]


def test_the_commands_are_completed() -> None:
    """With their options and the usual metrics."""
    script = completion_script("bash")
    for part in (*COMMANDS, "--only", "--sort", "test/accuracy", "--min"):
        assert part in script


@pytest.mark.parametrize(
    "content",
    [
        b"epoch,value\n1,2\n",
        b"epoch,accuracy\n1,0.5\n",
        b"a,b\n1,2,3\n",
        b"gr\xf6\xdfe,epoch\n1,2\n",
        b"a,a\n1,2\n",
        b"epoch,epoch\n1,2\n",
        b"",
        b"index,p0\n0,0.5\n",
    ],
)
def test_what_else_lies_in_a_run_is_no_table_of_it(content: bytes, runs: Path) -> None:
    """Somebody's notes cost nothing, whatever they are."""
    before = load_runs(runs)
    (runs / "random" / "notes.csv").write_bytes(content)
    after = load_runs(runs)
    assert len(after) == len(before)
    assert set(after.source) == set(before.source)


def test_a_table_of_any_name_and_columns_is_read(runs: Path) -> None:
    """Columns are added for what its rows are about; those that a run has anyway stay the run's."""
    before = load_runs(runs)
    (runs / "random" / "test.csv").write_text("epoch,run,source,of,x\n1,a,b,weights,2\n2,a,b,weights,3\n")
    after = load_runs(runs)
    assert len(after) == len(before) + 2
    rows = after[after.source == "test"]
    assert set(rows.run) == {"random"}
    assert list(rows["of"]) == ["weights"] * 2
    assert list(rows["name"]) == ["x"] * 2
    assert list(rows.value) == [2.0, 3.0]


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_as_before(enabled: bool, tmp_path: Path) -> None:
    """It waits while runs are read, whatever comes of that."""
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(FileNotFoundError):
            load_runs(tmp_path / "nowhere")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
