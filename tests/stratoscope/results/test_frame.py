"""Tests of what reads runs back: `load_runs`, and the commands ls, show and best."""

import csv
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope import load_runs
from stratoscope.commands.completion import completion_script
from stratoscope.commands.table import COMMANDS, main
from stratoscope.results.flat_config import differing, short_config
from stratoscope.results.frame import DamagedRun, find_runs, load_run
from stratoscope.run.lock import DEAD, RunLock

SMALL = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.enable_progress_bar false"
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu*"
MANY = "--trainer.callbacks.ridge [0.001,0.1] --trainer.callbacks.held_out 100 --trainer.callbacks.measures [rank]"
LONG = "2026-01-02_03-04-05_fit_TorchvisionClassifier_CIFAR10_" + 40 * "x" + "_0123abcd"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs: one probed on random labels, one deep down with other settings, one of `validate`."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STRATOSCOPE_RUN", "")  # which every run sets: put back in the end
        main(f"{SMALL} {PROBES} {MANY} --data.corruption RandomLabels --trainer.max_epochs 2 --run random".split())
        main(f"{SMALL} --model.depth 2 --trainer.max_epochs 3 --runs runs/größe/δ --run true".split())
        main(["validate", "--ckpt_path", "runs/random/checkpoints/last.ckpt", "--run", "checked"])
    return folder / "runs"


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in `runs` of the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Path(shutil.copytree(made, "runs"))


def table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def said(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints."""
    capsys.readouterr()
    main(line.split())
    return capsys.readouterr().out


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line a command is refused with."""
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    answer = capsys.readouterr().err.strip().splitlines()
    assert (stop.value.code, len(answer)) == (2, 1)
    return answer[0]


def record(run: Path, **changes: Any) -> None:
    """Change a run's record."""
    file = run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


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
    """Under the names of their options, with nothing that is the same in all runs; null does not vanish in groups."""
    frame = load_runs(runs)
    settings = set(frame.columns[13:])
    expected = {"command", "model.depth", "data.corruption", "trainer.max_epochs", "trainer.callbacks"}
    assert expected <= settings
    assert {"model", "data", "model.width", "seed_everything", "data.corruption.seed"} & settings == set()
    fits = frame[(frame.command == "fit") & (frame.name == "test/accuracy")]
    assert fits.groupby(["data.corruption", "model.depth"]).size().to_dict() == {
        ("RandomLabels", 1): 2,
        ("none", 2): 3,
    }


def test_a_config_is_flat_under_its_options_names() -> None:
    """Classes by name, lists of classes by all names, other lists as JSON."""
    config = {
        "seed_everything": 3,
        "trainer": {"callbacks": [{"class_path": "a.B", "init_args": {"epochs": [0, 1]}}, {"class_path": "c.D"}]},
        "model": {"class_path": "m.Net", "init_args": {"optimizer": {"class_path": "o.SGD", "init_args": {"lr": 0.1}}}},
        "data": {"class_path": "Digits", "init_args": {"corruption": None}},
    }
    short = {
        "command": "fit",
        "seed_everything": 3,
        "trainer.callbacks": "B, D",
        "trainer.callbacks.B.epochs": "[0, 1]",
        "model": "Net",
        "model.optimizer": "SGD",
        "model.optimizer.lr": 0.1,
        "data": "Digits",
        "data.corruption": None,
    }
    assert short_config(config, {"command": "fit"}) == short
    assert differing([short, {**short, "model.optimizer.lr": 1, "more": 2}]) == ["model.optimizer.lr"]


def test_a_record_has_numbers_for_texts(runs: Path) -> None:
    """Whole ones where they are, None for empty cells, NaN for no number; a layer's name stays text."""
    file = runs / "random" / "metrics.csv"
    rows = table(file)
    rows[-1] |= {"test/loss": "", "train/loss": "nan"}
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    probes = runs / "random" / "probes.csv"
    probes.write_text(probes.read_text().replace("network.relu1", "0"))
    run = load_run(runs / "random")
    assert [(row["epoch"], type(row["epoch"])) for row in run.metrics] == [(0, int), (1, int), (2, int)]
    assert run.metrics[-1]["test/loss"] is None
    assert math.isnan(run.metrics[-1]["train/loss"])
    assert {row["layer"] for row in run.tables["probes"].rows} == {"0"}
    assert {type(row["correct"]) for row in run.tables["probes"].rows} == {int}
    assert [epoch for epoch, _ in run.values("test/loss")] == [1]
    frame = load_runs(runs)
    last = frame[(frame.run == "random") & (frame.epoch == 2) & (frame.source == "metrics")].set_index("name").value
    assert "test/loss" not in last
    assert math.isnan(last["train/loss"])


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
def test_a_damaged_run_is_named_and_left_out(runs: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a warning in a notebook, below the table of `ls`, in one line of `show`; the others are there."""
    DAMAGE[damage](runs / "größe" / "δ" / "true")
    with pytest.warns(UserWarning, match="left out: .*true is no run, or damaged") as warned:
        assert set(load_runs(runs).run) == {"random", "checked"}
    assert len(warned) == 1
    with pytest.raises(DamagedRun):
        load_run(runs / "größe" / "δ" / "true")
    if "without" not in damage and "probes" not in damage:  # which `ls` does not read
        assert "left out  runs/größe/δ/true is no run, or damaged" in said("ls", capsys)
    assert "true is no run, or damaged" in refused("show δ", capsys)


def test_a_run_without_numbers_is_left_out_of_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in its first epoch; `ls` has it, and what predicts never had numbers to warn about."""
    (runs / "random" / "metrics.csv").unlink()
    (runs / "random" / "probes.csv").unlink()
    (runs / "random" / "measures.csv").unlink()
    with pytest.warns(UserWarning, match="random has no metrics yet"):
        assert "random" not in set(load_runs(runs).run)
    assert "random        finished     0/2" in said("ls", capsys)
    assert "finished, 0/2 epochs" in said("show random", capsys)
    record(runs / "random", asked={"command": "predict", "ckpt_path": None})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_runs(runs)


def test_a_killed_run_is_told_from_one_at_work(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its lock, which is looked at and never taken; both are in the table."""
    run = runs / "random"
    record(run, status="running")
    assert load_run(run).status == "stopped"
    assert f"to go on stratoscope resume {run}" in " ".join(said("show random", capsys).split())
    lock = RunLock(run)
    before = lock.file.stat().st_mtime_ns
    assert load_run(run).status == "running"
    assert f"process {os.getpid()} on {socket.gethostname()}" in said("show random", capsys)
    assert "random        running " in said("ls", capsys)
    assert set(load_runs(runs).status) == {"running", "finished"}
    assert lock.file.stat().st_mtime_ns == before
    lock.release()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for holder, age, status in (
        ({"pid": int(ended.stdout), "host": socket.gethostname()}, 0, "stopped"),
        ({"pid": int(ended.stdout), "host": "elsewhere"}, 0, "running"),
        ({"pid": os.getpid(), "host": "elsewhere"}, 2 * DEAD, "stopped"),
        ({"pid": os.getpid(), "host": socket.gethostname()}, 2 * DEAD, "stopped"),
        ({}, 0, "running"),
    ):
        (run / "lock").write_text(json.dumps(holder))
        then = time.time() - age
        os.utime(run / "lock", (then, then))
        assert load_run(run).status == status


def test_ls_sorts_by_a_metric(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its last value, best first, runs without it last; else the oldest first."""
    last = {run.name: load_run(run).last("test/loss") for run in find_runs(runs)}
    for second, name in enumerate(("random", "größe/δ/true", "checked")):
        record(runs / name, started=f"2026-01-02T03:04:0{second}+00:00")
    lines = said("ls", capsys).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["random", "größe/δ/true", "checked"]
    assert lines[0] == "3 runs, all Digits"
    assert lines[3].endswith("depth 2, true labels")
    assert f"{100 * (load_run(runs / 'random').last('train/accuracy') or 0):.1f}" in lines[2].split()
    lines = said("ls --sort test/loss", capsys).splitlines()
    order = [line.split()[0].rpartition("/")[2] for line in lines[2:]]
    assert [last[name] for name in order] == sorted(last.values(), key=lambda value: value or 0)
    assert said("ls runs --sort train/accuracy", capsys).splitlines()[-1].startswith("checked")


def test_best_ranks_by_the_best_epoch(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Large is good, but for losses and with --min; a metric of a probe is one too."""
    for line, smallest in (("best test/loss", True), ("best test/accuracy", False), ("best test/accuracy --min", True)):
        lines = said(line, capsys).splitlines()
        metric = line.split()[1]
        best = {run.name: load_run(run).best(metric, smallest) or (0, 0.0) for run in find_runs(runs)}
        rows = [row.split() for row in lines[3:]]
        assert [float(row[2]) for row in rows] == sorted((float(row[2]) for row in rows), reverse=not smallest)
        for row in rows:
            epoch, value = best[row[1].rpartition("/")[2]]
            assert row[2:4] == [f"{value:.4f}", str(epoch)]
    assert len(said("best test/loss --n 1", capsys).splitlines()) == 4
    assert "random" in said("best probe/true_label/test/network.relu1", capsys)


def test_show_has_everything_about_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found by its name, a part of it, its path below the folder, or its path."""
    text = said("show random", capsys)
    for part in ("finished, 2/2 epochs", "MLP: depth 1, width 8", "RandomLabels", "test/accuracy", "best layer for"):
        assert part in text
    for part in ("true, test", "given, train", "checkpoints/last.ckpt", "torch 2.", "seed_everything 0"):
        assert part in text
    for part in ("0: weights and dropout, order and augmentation of the samples, RandomLabels",):
        assert part in text
    for name in ("rand", "runs/random", str(runs.absolute() / "random") + "/"):
        assert said(f"show {name}", capsys).split("files")[0].split("folder")[0] == text.split("folder")[0]
    for name in ("true", "δ", "größe/δ/true"):
        assert said(f"show {name}", capsys).startswith("true\n")


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


@pytest.mark.parametrize("line", ["ls", "ls --sort test/loss", "best test/loss", "show 0123abcd", "show δ"])
def test_a_terminal_is_wide_enough(
    runs: Path, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 80 columns, also with long names, whose ends stay; in a pipe nothing is cut, and no line ends in blanks."""
    (runs / "random").rename(runs / LONG)
    plain = said(line, capsys)
    assert "\x1b" not in plain
    assert [row for row in plain.splitlines() if row != row.rstrip()] == []
    assert LONG in plain or line == "show δ"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    coloured = said(line, capsys)
    assert "\x1b[" in coloured
    bare = "".join(piece.partition("m")[2] if place else piece for place, piece in enumerate(coloured.split("\x1b[")))
    assert max(map(len, bare.splitlines())) <= 80
    if line.startswith(("ls", "best")):
        assert any(f"{LONG[:4]}" in row and "…" in row and LONG[-4:] in row for row in bare.splitlines())


def test_an_empty_folder_has_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """An empty table with its columns; a folder that is missing is an error; `ls` says so in one line."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    frame = load_runs()
    assert len(frame) == 0
    assert list(frame.columns[:4]) == ["run", "status", "source", "epoch"]
    assert "ls: there are no runs in runs" in refused("ls", capsys)
    with pytest.raises(FileNotFoundError, match="there is no folder nosuch"):
        load_runs("nosuch")


def test_runs_are_found_at_any_depth_and_once(runs: Path) -> None:
    """Links are not followed, so that a loop of them ends; nothing below a run is another; a run finds itself."""
    (runs / "loop").symlink_to(runs.absolute(), target_is_directory=True)
    (runs / "random" / "wandb").mkdir()
    (runs / "random" / "wandb" / "run.json").write_text("{}")
    assert [run.name for run in find_runs(runs)] == ["checked", "true", "random"]
    assert set(load_runs(runs / "random").run) == {"random"}


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
