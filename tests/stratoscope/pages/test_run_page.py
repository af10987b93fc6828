"""Tests of stratoscope/pages/run_page.py: what stands in the page is what the run left."""

import base64
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.table import main
from stratoscope.files.table import Column, Table, columns_of
from stratoscope.pages import run_page as module
from stratoscope.pages.run_page import MOST_EPOCHS, run_page, write_run_page
from stratoscope.results.record import DamagedRun, RunRecord, load_run
from tests.html_pages import Page
from tests.pictures import draw_nothing

RUN = (
    "fit --model MLP --model.width 8 --data Digits --data.corruption+ RandomSubset --data.corruption.n 100 "
    "--data.corruption+ RandomLabels --threads 1 --trainer.accelerator cpu --trainer.max_epochs 3 "
    "--trainer.enable_progress_bar false --trainer.callbacks LinearProbes --trainer.callbacks.epochs [0,3] "
    "--trainer.callbacks.taps [network.relu1,network.logits] --trainer.callbacks.tolerance 0.01 "
    "--trainer.callbacks.measures [rank,similarity] --run one"
)
PROBED = columns_of("epoch", "layer", "labels", "split", "accuracy", "loss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with probes and measures, and its page."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        main([*RUN.split(), "--runs", str(runs)])
    write_run_page(runs / "one")
    return runs / "one"


def page_of(**parts: Any) -> str:
    """The page of a run with these parts, which is whole; with its texts as they are read."""
    run = {"path": Path("nowhere"), "name": "one", "status": "finished", "config": {}, "record": {}, "metrics": []}
    text = run_page(RunRecord(**{**run, **parts}))
    Page(text)
    return unescape(text)


def titles(text: str) -> list[str]:
    """What a browser shows under the mouse."""
    return [unescape(title) for title in re.findall(r"<title>(.*?)</title>", text, re.DOTALL)][1:]


def test_the_page_is_whole_and_needs_nothing_else(folder: Path) -> None:
    """Nothing is fetched; the tables and settings are inside, to the byte."""
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert all(address.startswith("data:") for _, address in page.links)
    for word in ("http:", "https:", "<script", "@import", "url(", "http-equiv"):
        assert word not in text
    assert "are shown; the table" not in text  # of two epochs both are, though there is CKA with the first at one alone
    inside = dict(re.findall(r'<a download="one_([^"]+)" href="data:[a-z/]+;base64,([^"]+)">', text))
    assert [*inside] == ["metrics.csv", "measures.csv", "probes.csv", "config.yaml", "run.json"]
    for name, content in inside.items():
        assert base64.b64decode(content) == (folder / name).read_bytes()


def test_it_says_what_was_run(folder: Path) -> None:
    """Network, data, corruption, epochs, status, seeds, versions and the command."""
    text = unescape((folder / "report.html").read_text())
    for part in (
        "<h1>one</h1>",
        "MLP, Digits, trained on RandomSubset n 100 and RandomLabels, 3 epochs, chance 10 %",
        '<span class="status">finished</span>',
        "0: weights and dropout, order and augmentation of the samples, RandomSubset, RandomLabels",
        "torch 2.",
        f'<pre class="wrap">{load_run(folder).record["commands"][-1]}</pre>',
        f"stratoscope report {folder}",
    ):
        assert part in text


def test_every_number_is_under_the_mouse(folder: Path) -> None:
    """Curves, probes of every kind of labels, their differences from the untrained network, and measures."""
    run, found = load_run(folder), titles((folder / "report.html").read_text())
    for epoch, value in run.values("train/loss"):
        assert any(title.startswith(f"epoch {epoch}\n") and f"train {value:.4g}" in title for title in found)
    cells = {
        (row["layer"], row["labels"], row["epoch"]): 100 * row["accuracy"]
        for row in run.probes
        if row["split"] == ("test" if row["labels"] == "true_label" else "train")
    }
    assert len(cells) == 8
    for (layer, labels, epoch), value in cells.items():
        when = f"epoch {epoch}" if epoch else "untrained"
        assert any(title.startswith(f"{layer}, {when}: {value:.4g} %, 95 % interval") for title in found)
        if epoch:
            change = value - cells[layer, labels, 0]
            assert any(title.startswith(f"{layer}, {when}: {change:+.4g} percentage points") for title in found)
    ranks = [row for row in run.measures if row["measure"] == "effective_rank"]
    assert len(ranks) == 4
    for row in ranks:
        when = f"epoch {row['epoch']}" if row["epoch"] else "untrained"
        assert f"{row['layer']}, {when}: {row['value']:.4g} directions" in found
    (between,) = {row["value"] for row in run.measures if row["measure"] == "cka with network.relu1" and row["epoch"]}
    assert any(title.startswith(f"network.logits, network.relu1: {between:.2f}") for title in found)


def test_maps_beside_each_other_have_the_same_colours(folder: Path) -> None:
    """Of both kinds of labels: the ends of the colour bars are those of all numbers."""
    text = (folder / "report.html").read_text()
    group = text.partition("<h3>Accuracy, %; chance 10 %</h3>")[2].partition("</section>")[0]
    assert re.findall("<figcaption>(.*?)</figcaption>", group) == ["true labels, test set", "given labels, train set"]
    first, second = (map_.split("</g>")[-1] for map_ in re.findall("<svg.*?</svg>", group, re.DOTALL))
    ends = [re.findall(">([0-9.]+)</text>", map_)[-2:] for map_ in (first, second)]
    assert ends[0] == ends[1]
    assert group.count("untrained</text>") == 2


def test_a_run_without_probes_has_a_page_without_maps() -> None:
    """And one without any number has what was run."""
    rows = [{"epoch": epoch, "step": epoch, "train/loss": 1.0 / epoch, "lr": 0.1} for epoch in (1, 2)]
    text = page_of(metrics=rows)
    assert "Learning curves" in text
    assert "Further metrics (1)" in text
    assert "Layers from the input" not in text
    assert "<h2>Probes" not in text
    empty = page_of(status="failed")
    assert '<span class="status">failed</span>' in empty
    assert "<svg" not in empty
    assert "What was run" in empty


def test_metrics_of_a_kind_are_lines_of_one_chart() -> None:
    """Accuracies in per cent, under any name; what is of one epoch, or no number, is no line."""
    names = ("train/accuracy", "test/accuracy", "val_accuracy", "train/accuracy_true")
    rows = [
        {"epoch": at, "step": at, **dict.fromkeys(names, 0.25 * at), "once": 1.0 if at == 1 else None} for at in (1, 2)
    ]
    text = page_of(metrics=rows)
    (chart,) = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert "Accuracy, %" in text
    assert titles(f"<title></title>{chart}")[0].splitlines() == [
        "epoch 1", "train 25 %", "test 25 %", "val 25 %", "train, true 25 %",
    ]  # fmt: skip
    assert "<td>once</td>" in text


def test_tables_of_anybodys_instruments_are_shown() -> None:
    """Of layers as maps, of others as lines; under the names of their columns."""
    norm = {"norm": Column(float, says="value")}
    layers = [{"epoch": at, "layer": layer, "norm": at + 0.5} for at in (0, 1) for layer in ("a", "b")]
    lines = [{"epoch": at, "norm": at + 0.25} for at in (0, 1)]
    tables = {
        "weight_norms": Table(columns_of("epoch", "layer") | norm, layers),
        "gradients": Table(columns_of("epoch") | norm, lines),
    }
    text = page_of(tables=tables)
    assert "<h2>Weight norms</h2>" in text
    assert "<h3>Norm</h3>" in text
    assert "<h3>Norm minus untrained</h3>" in text
    assert {"a, untrained: 0.5", "b, epoch 1: 1.5", "b, epoch 1: +1", "epoch 1\nnorm 1.25"} <= {*titles(text)}


def test_of_many_epochs_and_layers_some_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the first and the last; it is said."""
    usual = {"labels": "true_label", "split": "test", "accuracy": 0.5, "loss": 1.0}
    rows = [{"epoch": at, "layer": "a", **usual} for at in range(200)]
    text = page_of(tables={"probes": Table(PROBED, rows)})
    assert f"Of 200 epochs {MOST_EPOCHS} are shown" in text
    shown = [title for title in titles(text) if title.endswith(": 50 %, not converged")]
    assert len(shown) == MOST_EPOCHS
    assert shown[0].startswith("a, untrained")
    assert shown[-1].startswith("a, epoch 199")
    monkeypatch.setattr(module, "CELLS", 1)
    assert "Of 200 epochs 2 are shown" in page_of(tables={"probes": Table(PROBED, rows)})


def test_names_are_text() -> None:
    """Of runs, layers, metrics and labels, whatever is in them."""
    odd = "<b>&\"'\x1b"
    usual = {"labels": odd, "split": odd, "accuracy": 0.5, "loss": 1.0}
    rows = [{"epoch": at, "layer": odd, **usual} for at in range(2)]
    metrics = [{"epoch": at, "step": at, f"{odd}/loss": 1.0} for at in (1, 2)]
    record = {"commands": [odd], "versions": {"torch": odd}}
    run = RunRecord(Path(odd), odd, odd, {"model": odd}, record, metrics, {odd: Table(PROBED, rows)})
    text = run_page(run)
    Page(text)
    assert "<b>" not in text
    assert "\x1b" not in text
    assert text.count("&lt;b&gt;&amp;") > 10


def test_what_is_damaged_is_told_and_leaves_the_page(folder: Path, tmp_path: Path) -> None:
    """In one line that names the run."""
    run = Path(shutil.copytree(folder, tmp_path / "one"))
    before = (run / "report.html").read_text()
    (run / "probes.csv").write_text("epoch,layer\n1\n")
    with pytest.raises(DamagedRun, match=r"one is no run, or damaged: line 2 of probes\.csv"):
        write_run_page(run)
    assert (run / "report.html").read_text() == before
