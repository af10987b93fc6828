"""CONTRIBUTING.md keeps its word: every example in it is put into a copy of the project, whose tests then pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^`(?P<file>[^`]+)`(, (?P<where>after|above) `(?P<line>[^`]+)`)?:\n\n```\w+\n(?P<text>.*?)```$", re.M | re.S
)
KINDS = "network, data set, corruption, augmentation, measure, instrument, control, command, experiment".split(", ")
# tests that look at all there is of some kind
OF_ALL = [
    "tests/test_package.py",
    "tests/test_configs.py",
    "tests/stratoscope/commands/test_catalogue.py",
    "tests/stratoscope/commands/test_table.py",
    "tests/stratoscope/experiments/test_experiment_file.py",
    "tests/callbacks/instruments/test_instrument.py",
    "tests/models/test_every_network.py",
]


class Example(NamedTuple):
    """Text for a new file, or for a place in one that is there."""

    file: str
    line: str | None
    above: bool
    text: str

    def apply(self, root: Path) -> None:
        """Write it."""
        path = root / self.file
        if self.line is None:
            assert not path.exists(), path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        at = lines.index(f"{self.line}\n") + (not self.above)
        path.write_text("".join([*lines[:at], self.text, *lines[at:]]))


def examples() -> list[Example]:
    """All that there are, in order."""
    found = BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text())
    return [Example(one["file"], one["line"], one["where"] == "above", one["text"]) for one in found]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with every example in it."""
    root = tmp_path_factory.mktemp("copy") / "project"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone: which files belong to the project is not known")
    for name in listed.stdout.splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    for example in examples():
        example.apply(root)
    return root


def passes(copy: Path, *words: str) -> None:
    """Run tests of the copy."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *words]
    done = subprocess.run(
        command, cwd=copy, env=own | {"PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_every_kind_has_an_example(copy: Path) -> None:
    """Which fits the files as they are, and is Python that could be imported."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [kind for kind in KINDS if re.search(rf"^### An? {kind}$", text, re.MULTILINE)] == KINDS
    for example in examples():
        if example.file.endswith(".py"):
            compile((copy / example.file).read_text(), example.file, "exec")


@pytest.mark.slow
def test_the_examples_pass_their_tests(copy: Path) -> None:
    """Their own, and those of all there is of their kind."""
    own = [example.file for example in examples() if example.file.startswith("tests/")]
    passes(copy, *own, *OF_ALL)
