"""Runs and configs that are damaged or made to harm: one of many costs itself alone, and nothing is led astray."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.printable import one_printable_line, printable
from stratoscope.results.frame import load_runs
from tests.pictures import draw_nothing

SMALL = (
    "fit --model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 64 --threads 1 "
    "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.enable_progress_bar false"
)
PROBED = (
    f"{SMALL} --trainer.callbacks LinearProbes --trainer.callbacks.epochs [1] --trainer.callbacks.measures [rank] "
    "--trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.1"
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all tables."""
    runs = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        main([*f"{PROBED} --run good".split(), "--runs", str(runs)])
    return runs / "good"


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that run, and the same again, to be damaged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    for name in ("good", "bad"):
        shutil.copytree(made, tmp_path / "runs" / name)
    return tmp_path / "runs"


def edited(file: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    """A change of what run.json or config.yaml holds."""

    def change_file(run: Path) -> None:
        content = yaml.safe_load((run / file).read_text())
        change(content)
        (run / file).write_text(json.dumps(content))

    return change_file


def cell(file: str, column: str, value: str) -> Callable[[Path], None]:
    """A change of one column of a table."""

    def change(run: Path) -> None:
        rows = list(csv.DictReader((run / file).read_text().splitlines()))
        with (run / file).open("w", newline="") as text:
            writer = csv.DictWriter(text, rows[0])
            writer.writeheader()
            writer.writerows({**row, column: value} for row in rows)

    return change


def pipe(file: str) -> Callable[[Path], None]:
    """A pipe in the place of a file: reading it would never end."""

    def change(run: Path) -> None:
        (run / file).unlink()
        os.mkfifo(run / file)

    return change


def text(file: str, content: str) -> Callable[[Path], None]:
    """Another content of a file."""

    def change(run: Path) -> None:
        (run / file).write_text(content)

    return change


DAMAGE: list[Callable[[Path], None]] = [
    edited("config.yaml", lambda config: config["model"].update(init_args="x")),
    edited("config.yaml", lambda config: config["data"].update(init_args=[1])),
    cell("metrics.csv", "epoch", "inf"),
    cell("metrics.csv", "epoch", "1e300"),
    cell("metrics.csv", "epoch", "-1"),
    cell("metrics.csv", "step", "0.5"),
    cell("probes.csv", "epoch", ""),
    cell("probes.csv", "layer", ""),
    cell("probes.csv", "chosen", "maybe"),
    cell("probes.csv", "accuracy", "True"),
    cell("measures.csv", "epoch", "nan"),
    text("config.yaml", "a: &a [*a]\n"),
    text("config.yaml", "a: &a {b: *a}\n"),
    text("config.yaml", BOMB),
    text("config.yaml", MERGES),
    text("config.yaml", "[" * 100_000),
    text("run.json", "[" * 100_000),
    text("run.json", "9" * 10_000),
    text("config.yaml", "? [a, b]\n: c\n"),
    text("config.yaml", "a: 2001-01-01\n"),
    text("config.yaml", "a: !!bool x\n"),
    text("config.yaml", 'a: !!int ""\n'),
    text("config.yaml", "a: !!timestamp x\n"),
    edited("run.json", lambda record: record.update(asked=[])),
    edited("run.json", lambda record: record.update(versions=["x"])),
    edited("run.json", lambda record: record.update(code="x")),
    edited("run.json", lambda record: record.update(commands=3)),
    edited("run.json", lambda record: record.update(commands=[3])),
    edited("run.json", lambda record: record.update(data=[1])),
    edited("run.json", lambda record: record.update(status=[])),
    edited("run.json", lambda record: record.update(started={})),
    edited("run.json", lambda record: record.update(samples=[1])),
    edited("run.json", lambda record: record.update(samples={"test": "x"})),
    edited("run.json", lambda record: record.update(samples={"test": -5})),
    pipe("config.yaml"),
    pipe("metrics.csv"),
    pipe("run.json"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_run_costs_itself(
    damage: Callable[[Path], None], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ls`, `best` and `load_runs` have the other run, and name the damaged one; `show` and `report` refuse it."""
    damage(runs / "bad")
    layers = not (runs / "bad" / "probes.csv").read_text() == (runs / "good" / "probes.csv").read_text() or (
        (runs / "bad" / "measures.csv").read_text() != (runs / "good" / "measures.csv").read_text()
    )
    capsys.readouterr()
    if not layers:  # which they do not read
        main(["ls", "runs"])
        said = capsys.readouterr().out
        assert "left out" in said
        assert len([line for line in said.splitlines() if "runs/bad" in line or line.startswith("good")]) == 2
        main(["best", "test/loss", "runs"])
        assert "runs/bad" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="left out: runs/bad"):
        assert set(load_runs("runs").run) == {"good"}
    for command in ("show", "report"):
        with pytest.raises(SystemExit) as stop:
            main([command, "bad"])
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (runs / "bad" / "report.html").exists()


@pytest.mark.parametrize("seed", ["foo", 1.5, [1], {"a": 1}])
def test_a_seed_that_is_none_is_shown_as_it_stands(
    seed: object, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the run, of its data and of a corruption."""

    def change(config: Any) -> None:
        config["seed_everything"] = seed
        config["data"]["init_args"] |= {"seed": seed, "data_seed": seed}
        config["data"]["init_args"]["corruption"]["init_args"]["seed"] = seed

    edited("config.yaml", change)(runs / "bad")
    capsys.readouterr()
    main(["show", "bad"])
    said = capsys.readouterr().out
    assert "seeds" in said
    assert isinstance(seed, dict) or str(seed) in said
    main(["report", "bad"])
    assert (runs / "bad" / "report.html").is_file()


@pytest.mark.parametrize("config", [BOMB, MERGES, "a: &a [*a]\n", "[" * 5000])
def test_aliases_of_a_config_that_is_given_are_bounded(
    config: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused in one line: a config of `fit`, an experiment."""
    (runs.parent / "x.yaml").write_text(config)
    for words in (["fit", "--config", "x.yaml"], ["reproduce", "x.yaml"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert "x.yaml is no valid YAML" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["checkpoints", "run.json"])
def test_no_link_is_followed_out_of_a_run(name: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file's nor a folder's: going on is refused, in one line, and what it leads to is as it was."""
    out = runs.parent / "precious"
    run = runs / "bad"
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    if name == "checkpoints":
        out.mkdir()
        shutil.rmtree(run / name)
    else:
        out.write_text((run / "run.json").read_text())
        (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(out)
    before = list(out.iterdir()) if out.is_dir() else out.read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["resume", "runs/bad"])
    assert stop.value.code == 2
    assert f"runs/bad/{name} is a link that leads out of runs/bad" in capsys.readouterr().err
    assert (list(out.iterdir()) if out.is_dir() else out.read_bytes()) == before


STEERING = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


def test_nothing_steers_the_terminal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, settings, status, commands and metrics are shown with their controls written out, by every command."""
    run = runs / "bad"
    edited("config.yaml", lambda config: config["model"]["init_args"].update(width=STEERING, monitor=STEERING))(run)
    record = {"status": STEERING, "commands": [f"x {STEERING}"], "started": STEERING, "versions": {"torch": STEERING}}
    edited("run.json", lambda content: content.update(record))(run)
    (run / "metrics.csv").write_text(f"epoch,step,test/loss,{STEERING}\n1,2,0.5,0.25\n")
    run.rename(runs / f"b{STEERING}")
    (runs / f"worse{STEERING}").mkdir()
    (runs / f"worse{STEERING}" / "run.json").write_text("{")
    for words in (["ls"], ["show", "b"], ["best", "test/loss"], ["best", STEERING], ["ls", "--sort", STEERING]):
        main(words)
    main(["report", "b"])
    page = (runs / f"b{STEERING}" / "report.html").read_text()
    for words in (["best", f"x{STEERING}"], ["show", f"x{STEERING}"], ["fit", f"--x{STEERING}"], [STEERING]):
        with pytest.raises(SystemExit):
            main(words)
    row = {"layer": STEERING, "epoch": 1, "labels": STEERING, "split": STEERING, "accuracy": 0.5, "chosen": True}
    ProbeTable([row | {"converged": True}]).print()
    said = capsys.readouterr()
    for output in (said.out, said.err):
        assert "\\x1b" in output
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(output)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(page)


def test_printable() -> None:
    """Controls are written out; letters of all kinds, tabs and ends of lines stay."""
    assert printable("naïve 漢字\t\n\x1b[0m\x00\u2066") == "naïve 漢字\t\n\\x1b[0m\\x00\\u2066"
    assert one_printable_line("a\r\n\tb\x1b") == "a b\\x1b"
    assert str(Refused("two\nlines\x1b")) == "two lines\\x1b"
