"""Tests of scripts/bench/gpu.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "gpu.py"


@pytest.mark.slow
def test_a_rehearsal_writes_what_every_part_has_found(tmp_path: Path) -> None:
    """The same code as on a GPU, on the CPU, without anything that breaks off."""
    parts = ["lrn", "probes", "scikit-learn", "training", "real runs"]
    words = [sys.executable, str(SCRIPT), "--rehearse", "--parts", *parts, "--output", str(tmp_path / "gpu.md")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "gpu.md").read_text()
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == parts
    assert "It broke off" not in text
