"""Tests of stratoscope/plotting.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image, ImageChops
from torch import nn

import stratoscope
from stratoscope import load_runs, plot_layers
from stratoscope.callbacks import LinearProbes
from stratoscope.commands.table import main
from stratoscope.datamodules import Digits, RandomLabels, RandomSubset
from stratoscope.models import MLP
from stratoscope.probes import probe
from stratoscope.results import load_run

TAPS = ["*relu1", "*logits"]
SMALL = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.enable_progress_bar false"
DATA = (
    "--data.corruption+ RandomSubset --data.corruption.n 200 --data.corruption.seed 0 "
    "--data.corruption+ RandomLabels --data.corruption.seed 0"
)
PROBES = (
    "--trainer.callbacks LinearProbes --trainer.callbacks.taps [network.relu1,network.logits] "
    "--trainer.callbacks.tolerance 0.001 --trainer.callbacks.measures [rank,collapse]"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its own picture."""
    folder = tmp_path_factory.mktemp("plotted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STRATOSCOPE_RUN", "")
        main(f"{SMALL} {DATA} {PROBES} --trainer.max_epochs 1 --run one".split())
    return folder / "runs"


def shown(figure: Any) -> list[tuple[str, list[list[float]]]]:
    """The title and the numbers of every heat map."""
    return [(axis.get_title("left"), axis.images[0].get_array().tolist()) for axis in figure.axes if axis.images]


def test_a_run_directory_gives_the_runs_own_picture(runs: Path, tmp_path: Path) -> None:
    """Pixel for pixel, heading and all: one place draws both."""
    figure = plot_layers(runs / "one")
    figure.savefig(tmp_path / "again.png", dpi=150)
    with Image.open(tmp_path / "again.png") as again, Image.open(runs / "one" / "separability.png") as own:
        assert ImageChops.difference(again.convert("RGB"), own.convert("RGB")).getbbox() is None
    assert figure.get_suptitle() == (
        "Linear probes: MLP, Digits, trained on RandomSubset n 200 and RandomLabels, 1 epoch, chance 10 %"
    )
    assert "chance 10 %" in (runs / "one" / "separability.svg").read_text()


def test_a_table_of_runs_gives_the_same_numbers(runs: Path) -> None:
    """Of one run, of a folder, or of some rows of it; its heading has what the table has."""
    frame: Any = load_runs(runs)
    own = shown(plot_layers(str(runs / "one")))
    assert len(own) == 2
    assert shown(plot_layers(frame)) == shown(plot_layers(load_runs(runs / "one"))) == own
    assert shown(plot_layers(frame[frame.split == "test"], labels="true_label")) == own[:1]
    assert "MLP, Digits, trained on RandomSubset and RandomLabels" in plot_layers(frame).get_suptitle()
    lower = plot_layers(frame, "profile", labels="true_label").axes[0].containers[-1][2][0].get_segments()[0][0, 1]
    of = (frame.name == "accuracy") & (frame.labels == "true_label") & (frame.split == "test") & (frame.epoch == 1)
    assert lower == pytest.approx(100 * frame[of].low.iloc[0])


def test_measures_are_drawn_from_a_run_and_from_a_table(runs: Path) -> None:
    """The numbers of measures.csv, on the scale that the measure has; a kind of labels beside the other."""
    frame: Any = load_runs(runs)
    ranks = [row for row in load_run(runs / "one").measures if row["measure"] == "effective_rank"]
    for source in (runs / "one", frame, frame[frame.name == "effective_rank"]):
        figure = plot_layers(source, value="effective_rank")
        ((title, numbers),) = shown(figure)
        assert title == "train set"
        assert [number for row in numbers for number in row] == [
            row["value"] for layer in ("network.relu1", "network.logits") for row in ranks if row["layer"] == layer
        ]
        assert figure.get_suptitle().startswith("Effective rank: MLP, Digits")
        assert plot_layers(source, "profile", value="effective_rank").axes[0].get_yscale() == "log"
    both = ["true labels, train set", "given labels, train set"]
    assert [title for title, _ in shown(plot_layers(runs, value="nc1"))] == both
    assert [title for title, _ in shown(plot_layers(frame, value="nc1", show="difference"))] == both


def test_a_value_that_is_not_there_is_refused_with_those_that_are(runs: Path) -> None:
    """In a run as in a table."""
    for source in (runs / "one", load_runs(runs)):
        with pytest.raises(ValueError, match=r"there is no rank of layers; there are .*effective_rank, .*nc1"):
            plot_layers(source, value="rank")


def test_loose_probes_are_marked_from_a_table_too(runs: Path) -> None:
    """The run's tolerance was 1e-3 nats, and a table knows gaps alone: those above the default of 1e-6 are marked."""
    frame: Any = load_runs(runs)
    printed = [text.get_text() for text in plot_layers(frame, labels="true_label").axes[0].texts]
    gaps = frame[(frame.labels == "true_label") & (frame.split == "test") & (frame.name == "accuracy")].gap
    assert sum(text.endswith("~") for text in printed) == (gaps > 1e-6).sum() > 0


def test_a_gap_of_zero_is_certified(runs: Path) -> None:
    """As of a layer that is constant, whose probe is the bias alone."""
    figure = plot_layers(load_runs(runs).assign(gap=0.0))
    assert not any(text.get_text().endswith("~") for axis in figure.axes for text in axis.texts)


def test_a_table_without_the_columns_of_load_runs_is_refused(runs: Path) -> None:
    """In one line that says what can be drawn."""
    with pytest.raises(TypeError, match=r"plot_layers draws a LinearProbes callback, .*; got DataFrame"):
        plot_layers(load_runs(runs).drop(columns="gap"))


def test_what_probe_found_is_one_column() -> None:
    """Of a network that nobody knows the training of."""
    torch.manual_seed(0)
    data = torch.randn(60, 8), torch.randint(3, (60,))
    found = probe(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), {"train": [data]})
    figure = plot_layers(found)
    (title, numbers), *rest = shown(figure)
    assert not rest
    assert title == "true labels, train set"
    assert figure.get_suptitle() == "Linear probes: Sequential, chance 33.3 %"
    assert numbers == [[100 * (rows[0].accuracy or 0)] for rows in found.values()]
    assert plot_layers(found, "profile").axes[0].containers[0].get_label() == "true labels, train set"
    with pytest.raises(ValueError, match="needs probes of the untrained network"):
        plot_layers(found, show="difference")


def test_a_callback_in_memory_is_drawn(tmp_path: Path) -> None:
    """Under the user's own Trainer, before any file is read."""
    seed_everything(0, verbose=False)
    probes = LinearProbes(TAPS, tolerance=0.1, measures=["rank"])
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, callbacks=[probes], log_every_n_steps=1, **options
    )
    trainer.fit(MLP(width=8), datamodule=Digits(corruption=[RandomSubset(100, seed=0), RandomLabels(seed=0)]))
    assert len(shown(plot_layers(probes, value="participation_ratio"))[0][1]) == 2
    figure = plot_layers(probes, show="difference", labels="given_label")
    cells = probes.table.cells("given_label", "train")
    expected = [
        100 * (cells[layer, 1]["accuracy"] - cells[layer, 0]["accuracy"]) for layer in probes.table.unique("layer")
    ]
    assert [row for _, map_ in shown(figure) for row in map_] == [[pytest.approx(change)] for change in expected]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    """With what could be."""
    wrong: Any = 3
    with pytest.raises(TypeError, match=r"draws a LinearProbes callback, .*; got int"):
        plot_layers(wrong)
    with pytest.raises(ValueError, match="no probes to draw yet"):
        plot_layers(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        plot_layers(tmp_path / "nosuch")
    assert stratoscope.plot_layers is plot_layers
