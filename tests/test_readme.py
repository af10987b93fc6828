"""What README.md and the tutorial show is run, from top to bottom, on tiny data; every other page's commands are read.

Nothing is left out in silence: a line that is no command known here fails.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.commands.reproduce import parser
from stratoscope.commands.table import COMMANDS, main
from stratoscope.datamodules.cifar10 import NAMES
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from tests.small_experiments import TINY

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")
TINIER = {  # what is added to a command line that trains, for it to take a second
    "configs/quickstart.yaml": "--model.width 4 --data.batch_size 500 --trainer.callbacks.epochs [0,1] "
    "--trainer.callbacks.taps [network.fc2,network.logits]",
    "SmallAlexNet": "--model.width_multiplier 0.1 --trainer.accelerator cpu --trainer.callbacks.width 16 "
    "--trainer.callbacks.taps network.logits --data.batch_size 500",
}
ONE_EPOCH = "--trainer.max_epochs 1"
# what stands in a page for the reader's own
OWN = {"my_package.MyModule": "stratoscope.models.MLP", "my_package.MyData": "stratoscope.datamodules.Digits"}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of every block of code."""
    return ((found[1], found[2]) for found in BLOCK.finditer(page.read_text()))


def command_lines(text: str) -> list[list[str]]:
    """The words of every command in a shell block, without comments."""
    return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


class MyModule(LightningModule):
    """Anybody's network, which knows nothing of probes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: list[Tensor], place: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], place: int) -> None:
        """Nothing."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(samples: int) -> DataLoader[Any]:
    """Images of 3x4x4 and labels of three classes."""
    return DataLoader(TensorDataset(torch.randn(samples, 3, 4, 4), torch.arange(samples) % 3), batch_size=10)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images like CIFAR-10's, 200 to train and two to test of every class."""
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stratoscope.datamodules.cifar.TOTAL", {"train": 2000, "test": 20})
    draw = np.random.default_rng(0)
    for split, size in (("train", 200), ("test", 2)):
        for label, name in enumerate(NAMES):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(size):
                pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{size * label + number}.jpg")
    return tmp_path / "images"


class Reader:
    """Somebody who does all that a page shows, in its order, in an empty folder.

    Args:
        images: The data set that `FOLDER` stands for.
    """

    def __init__(self, images: Path) -> None:
        self.images = images
        self.names: dict[str, Any] = {"my_module": MyModule(), "my_network": MyModule()}
        self.names |= {"my_train_loader": loader(30), "my_test_loader": loader(20)}

    def follow(self, page: Path) -> int:
        """Do it; the number of blocks."""
        done = 0
        for language, text in blocks(page):
            if language == "python":
                code = text.replace("max_epochs=10", "max_epochs=1, accelerator='cpu', enable_progress_bar=False")
                exec(compile(code, str(page), "exec"), self.names)
            elif language == "shell":
                for words in command_lines(text):
                    self.run(words)
            else:
                assert language == "text", f"{page}: a block of {language or 'no language'}"
            done += 1
        return done

    def run(self, words: list[str]) -> None:
        """Do what a line says."""
        match words:
            case ["stratoscope", *more]:
                self.command([str(self.images) if word == "FOLDER" else word for word in more])
            case ["make", target]:
                steps = _make(target)
                self.command(command_lines(steps[-1])[0][1:])
                assert any(f"pip install {word}" in " ".join(steps) for word in ("-e", "--quiet"))
            case ["pip", "install", "-c", "constraints.txt", "-e", "."]:  # as make does itself
                assert any(step.endswith("-c constraints.txt --editable .") for step in _make("quickstart"))
            case ["git", "clone", _] | ["cd", "stratoscope"] | ["source", ".venv/bin/activate"]:
                assert (ROOT / "pyproject.toml").is_file()  # where these words lead
            case _:
                pytest.fail(f"nobody knows how to try: {shlex.join(words)}")

    def command(self, words: list[str]) -> None:
        """A command of `stratoscope`, made so small that it takes a second."""
        if words[0] == "fit":
            words = [*words, *(" ".join(TINIER[word] for word in words if word in TINIER)).split(), *ONE_EPOCH.split()]
        if words[0] == "reproduce" and words[1:]:
            words = [*words, "--only", "network=MLP 1x512", *(["--dry-run"] if "--dry-run" not in words else [])]
        main(words)


def _make(target: str) -> list[str]:
    """What make would do for a target in a fresh clone."""
    asked = ["make", "--dry-run", "--no-print-directory", target, "VENV=fresh"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`:UserWarning")  # Lightning's default logger
@pytest.mark.parametrize("page", ["README.md", pytest.param("docs/tutorial.md", marks=pytest.mark.slow)])
def test_what_a_page_shows_runs(
    page: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    """From top to bottom, in a folder of its own."""
    matplotlib.use("Agg")
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    assert Reader(images).follow(ROOT / page) >= 6
    assert list(place.glob("runs/*/probes.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_every_command_of_a_page_is_understood(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training ones to the end of their options, reproductions up to their plan, others to their command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(TINY.read_text())
    for words in (words for language, text in blocks(page) if language == "shell" for words in command_lines(text)):
        if "stratoscope" not in words or words[0] in {"git", "cd"}:
            assert words[0] in {"make", "pip", "git", "cd", "source"}, words
            continue
        command, *options = words[words.index("stratoscope") + 1 :]
        assert command in COMMANDS
        if command == "fit":
            given = " ".join(OWN.get(word, word.replace(" ", "")) for word in options)
            with pytest.raises(SystemExit) as stop:
                main(["fit", *given.replace("...", "--model MLP --data Digits").split(), "--print_config"])
            assert not stop.value.code, (words, capsys.readouterr().err)
        elif command == "reproduce" and options:
            asked, _ = parser().parse_known_args(options)
            experiment = read_experiment(asked.name)
            assert asked.scale in {"full", *experiment.scales}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Within the project; and a page has one title."""
    text = BLOCK.sub("", page.read_text())
    for target, _ in LINK.findall(text):
        assert "://" in target or (page.parent / target).exists(), target
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_the_readme_is_short() -> None:
    """A minute's reading: at most 900 words; and it names every experiment there is."""
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    rows = re.findall(r"^\| (`\w+/\w+`(?:, `\w+/\w+`)*) \|", text, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == {*experiment_names()}


def test_pictures_are_small() -> None:
    """No picture of the documentation is larger than 300 kB."""
    assert [file for file in (ROOT / "docs").rglob("*.png") if file.stat().st_size > 300_000] == []
