"""Tests of stratoscope/commands/workspace.py; nothing is sent."""

import csv
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stratoscope.commands import workspace as module
from stratoscope.commands.table import main
from stratoscope.commands.workspace import CURVES, PROBES, save_workspace, workspace
from stratoscope.errors import Refused

PROBED = (
    "fit --model MLP --model.width 2 --data Digits --data.corruption RandomLabels --trainer.accelerator cpu "
    "--trainer.max_epochs 1 --trainer.callbacks LinearProbes --trainer.callbacks.taps *relu* "
    "--trainer.callbacks.tolerance 0.1 --trainer.callbacks.train_samples 50 --run one"
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own
def test_a_workspace_shows_what_is_recorded() -> None:
    """Learning curves and probes by layer over the epoch, of an experiment's runs; its patterns find our metrics."""
    pytest.importorskip("wandb_workspaces", reason="needs the extra wandb")
    view = workspace("me", "p", "zhang2017/table1", "small")
    assert [section.name for section in view.sections] == ["Learning curves", *PROBES, "Separability"]
    panels = [panel for section in view.sections for panel in section.panels if hasattr(panel, "metric_regex")]
    assert {panel.x for panel in panels} == {"epoch"}
    assert [panel.metric_regex for panel in panels] == [*CURVES.values(), *PROBES.values()]
    assert "zhang2017/table1/small" in view._to_model().model_dump_json(by_alias=True)


@pytest.mark.usefixtures("no_pictures")
def test_the_patterns_of_a_workspace_find_our_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds some, and all that are found are what its heading says; no look-ahead, which not every server has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    main(PROBED.split())
    with Path("runs/one/metrics.csv").open(newline="") as text:
        names = next(csv.reader(text))
    found = {
        title: [name for name in names if re.search(pattern, name)] for title, pattern in {**CURVES, **PROBES}.items()
    }
    assert [*found.values()] == [
        ["test/accuracy", "train/accuracy"],
        ["test/loss", "train/loss"],
        ["train/accuracy_corrupted", "train/accuracy_untouched"],
        ["probe/true_label/test/network.relu1"],
        ["probe/given_label/train/network.relu1"],
    ]
    assert not [pattern for pattern in [*CURVES.values(), *PROBES.values()] if "(?" in pattern]


def test_a_workspace_needs_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an experiment that exists, and the extra."""
    for words, part in (
        (["p"], "takes ENTITY/PROJECT, got p"),
        ([], "missing: ENTITY/PROJECT"),
        (["me/p", "zhang2017/nosuch"], "nosuch"),
        (["me/p", "zhang2017/table1", "--scale", "tiny"], "--scale tiny"),
    ):
        with pytest.raises(Refused, match=part):
            save_workspace(["workspace", *words])
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(Refused, match=re.escape("pip install 'stratoscope[wandb]'")):
        workspace("me", "p")


def test_the_workspace_is_saved_and_its_address_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the experiment under its own name, at its scale."""
    asked: list[tuple[str, ...]] = []

    def made(*words: str) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(save=lambda: SimpleNamespace(url="https://example.org/w"))

    monkeypatch.setattr(module, "workspace", made)
    assert save_workspace(["workspace", "me/p", "zhang2017/table1", "--scale", "small"]) == 0
    assert asked == [("me", "p", "zhang2017/table1", "small")]
    assert capsys.readouterr().out == "https://example.org/w\n"


def test_what_wandb_refuses_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its library raises."""

    def save() -> None:
        raise RuntimeError("no project\nof that name" + 300 * "!")

    monkeypatch.setattr(module, "workspace", lambda *words: SimpleNamespace(save=save))
    with pytest.raises(Refused, match=r"^workspace: W&B did not take it: no project of that name!+$") as refusal:
        save_workspace(["workspace", "me/p"])
    assert len(str(refusal.value)) < 250
