"""Tests of stratoscope/commands/reproduce.py: its words, and the list of what can be reproduced."""

from pathlib import Path

import pytest

from stratoscope.commands.reproduce import reproduce
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from tests.small_experiments import TINY, written


def test_the_list_names_every_experiment_with_its_scales(capsys: pytest.CaptureFixture[str]) -> None:
    """`reproduce` without a name."""
    assert reproduce(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == experiment_names()
    for line, name in zip(lines, experiment_names(), strict=True):
        assert line.endswith(f"(scales: {', '.join(['full', *read_experiment(name).scales])})")


@pytest.mark.parametrize(("name", "meant"), [("zhang2017/figur1", "zhang2017/figure1"), ("journal/lnr", "journal/lrn")])
def test_a_misspelt_experiment_is_refused(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line, in one line with the nearest name."""
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", name])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"stratoscope: no experiment {name}; did you mean {meant}?\n"


@pytest.mark.parametrize("words", [["--job", "2"], ["--jobs", "0"], ["--task", "x"], ["--task", "7"], ["--dry"]])
def test_misspelt_words_are_refused(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=words[0]):
        reproduce(["reproduce", str(TINY), *words])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    ["--model.width 3", "--threads=1 --model.width 3", "--data.download --trainer.max_epochs 1", "-c x", "stray"],
)
def test_options_that_change_results_go_to_no_run(words: str, tmp_path: Path) -> None:
    """Wherever they stand: the report would speak of another experiment than was run."""
    with pytest.raises(Refused, match="unknown option"):
        reproduce(["reproduce", str(written(tmp_path)), *words.split()])


def test_options_that_change_no_result_go_to_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their values, of which -1 is no option."""
    given: list[list[str]] = []

    def note(experiment: object, asked: object, more: list[str]) -> int:
        given.append(more)
        return 1

    monkeypatch.setattr("stratoscope.commands.reproduction.reproduced", note)
    more = ["--threads=2", "--data.root", "-1", "--trainer.devices", "2"]
    assert reproduce(["reproduce", str(written(tmp_path)), *more]) == 1
    assert given == [more]
