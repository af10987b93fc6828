"""Runs and half an experiment that were made before the modules moved are read, gone on with and reported.

tests/old_runs holds them as text: `begun`, as a signal left them, and what they ended with then, in `ended`.
"""

import base64
import csv
import lzma
import shutil
from pathlib import Path

import pytest

from stratoscope import load_runs
from stratoscope.commands.table import main

OLD = Path(__file__).parents[1] / "old_runs"
FOLDER = Path("runs/old_small/full")
LAST = "last.ckpt.xz.base64"
EXACT = {"epoch", "step", "width", "count", "features", "ridge"}
ROUNDING = {"gap", "gradient_norm", "iterations"}  # decides these, up to some factor
SAMPLES = {"correct": 2}  # all else is a share of 100 or 50 samples, or of a nat


@pytest.fixture
def begun(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment's folder: one run has finished, one was interrupted within an epoch, one has not begun."""
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(OLD / "begun", FOLDER)
    shutil.copy(OLD / "small.yaml", "small.yaml")
    plan = FOLDER / "experiment.json"
    plan.write_text(plan.read_text().replace("FOLDER", str(tmp_path)))
    run = FOLDER / "random"
    (run / "checkpoints").mkdir()
    content = lzma.decompress(base64.b64decode((run / LAST).read_text()))
    (run / "checkpoints" / "last.ckpt").write_bytes(content)
    (run / LAST).unlink()
    (run / "last.ckpt.sha256").rename(run / "checkpoints" / "last.ckpt.sha256")
    return FOLDER


def rows(file: Path) -> list[dict[str, str]]:
    """A table as text."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_an_old_run_is_gone_on_with_and_reported(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its tables are those that it had then, but for the rounding of another processor."""
    main(["resume", str(begun / "random")])
    for old in sorted((OLD / "ended" / "random").glob("*.csv")):
        for expected, found in zip(rows(old), rows(begun / "random" / old.name), strict=True):
            assert expected.keys() == found.keys()
            for name, cell in expected.items():
                try:
                    number = float(cell)
                except ValueError:
                    assert found[name] == cell
                    continue
                if name in ROUNDING and number:
                    assert 0.1 < float(found[name]) / number < 10
                else:
                    off = 0 if name in EXACT else SAMPLES.get(name, 0.03)
                    assert float(found[name]) == pytest.approx(number, rel=0 if name in EXACT else 0.2, abs=off)
    capsys.readouterr()
    main(["report", str(begun)])
    assert "2 of 3 runs finished" in capsys.readouterr().out
    table = {row["labels"]: row["error"] for row in rows(begun / "report" / "table.csv")}
    expected = {row["labels"]: row["error"] for row in rows(OLD / "ended" / "table.csv")}
    assert table["given"] == expected["given"]
    assert float(table["random"]) == pytest.approx(float(expected["random"]), abs=0.03)


def test_old_runs_are_read(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By ls, show and load_runs, and by an experiment's plan, in which one has finished."""
    main(["ls", str(begun)])
    assert "interrupted" in capsys.readouterr().out
    main(["show", "given", "--runs", str(begun)])
    assert "online_probes: best layer for" in capsys.readouterr().out
    frame = load_runs(begun)
    assert set(frame.source) == {"metrics", "probes", "online_probes", "measures"}
    main(["reproduce", "small.yaml", "--runs", "runs", "--only", "labels=given", "--dry-run"])
    assert "about 0 min" in capsys.readouterr().out
