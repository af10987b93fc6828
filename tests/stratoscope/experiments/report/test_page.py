"""Tests of stratoscope/experiments/report/page.py; that its numbers are those of the runs is in test_writing.py."""

import json
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup, escape

from stratoscope.experiments.claims import Comparison, Verdict
from stratoscope.experiments.experiment import Claim, Experiment, Figure, Published, Quantity
from stratoscope.experiments.measured import Reading
from stratoscope.experiments.quantities import Estimate, Result
from stratoscope.experiments.report import write_report
from stratoscope.experiments.report.page import Content, Drawn, page
from stratoscope.experiments.report.writing import table_of
from stratoscope.pages.template import Inside
from tests.html_pages import Page
from tests.small_experiments import result, written

EXPERIMENT = Experiment("Small", "Nobody", {"seed": {0: {}, 1: {}}}, [], {}, {"a": Quantity("test/accuracy", unit="%")})
CLAIM = Claim("It is so", "a", at_least=1, source="page 3")
ONE, TWO = Estimate((Reading(2.0),)), Estimate((Reading(1.0), Reading(3.0)))


def text_of(results: Sequence[Result] = (), **parts: Any) -> str:
    """A page, which is whole, with these parts."""
    usual: dict[str, Any] = {"label": "", "verdicts": [], "comparisons": [], "pictures": [], "table": []}
    made = page(Content(EXPERIMENT, folder=Path("x"), results=results, **{**usual, **parts}))
    Page(made)
    return unescape(made)


def test_the_page_says_in_what_the_runs_that_are_there_differ() -> None:
    """By the seeds that they were begun with, whatever the file says by now."""

    def results(*seeds: int) -> list[Result]:
        found = []
        for label, seed in enumerate(seeds):
            one = result({"seed": label}, 0.5, 0.6)
            assert one.record
            planned = replace(one.planned, options={"seed_everything": label})
            found.append(Result(planned, replace(one.record, config={"seed_everything": seed})))
        return [*found, replace(found[0], record=None)]

    def told(*seeds: int) -> str:
        experiment = Experiment("Small", "Nobody", {"seed": {0: {}, 1: {}}}, [], {}, {"a": Quantity("test/accuracy")})
        made = results(*seeds)
        return page(Content(experiment, "", Path("x"), made, [], [], [], table_of(experiment, made)))

    assert "Repetitions differ in weights and dropout" in told(0, 1)
    assert "Repetitions do not differ; the same in all: weights and dropout" in told(0, 0)
    assert "epetitions" not in told(0).replace("several repetitions", "")


def test_text_of_the_file_is_text_on_the_page(tmp_path: Path) -> None:
    """Signs that mean something in HTML are escaped everywhere."""
    odd = "<b>&\"'</p>"
    file = written(
        tmp_path / "my",
        title=odd,
        source=odd,
        note=odd,
        axes={odd: {odd: {}, "b": {}}},
        runs=[{odd: "all"}],
        quantities={odd: {"metric": odd, "unit": odd}},
        claims=[{"text": odd, "quantity": odd, "at_least": 0, "source": odd}],
        published=[{"quantity": odd, "of": {odd: odd}, "value": 1, "tolerance": 1, "source": odd}],
        figures={"f": {"kind": "curves", "title": odd, "quantity": odd, "lines": odd, "caption": odd}},
        scales={"s": {"note": odd}},
    )
    folder = tmp_path / "runs" / "my_small" / "s"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps({"experiment": str(file), "scale": "s"}))
    write_report(folder)
    text = (folder / "report.html").read_text()
    Page(text)
    assert odd not in text
    assert text.count(str(escape(odd))) > 10


def verdict(kind: str = "holds", numbers: dict[str, Estimate] | None = None, missing: int = 0) -> Verdict:
    """A verdict on the claim."""
    return Verdict(CLAIM, kind, numbers or {"": TWO}, missing)


def test_a_smaller_experiment_is_never_taken_for_the_papers() -> None:
    """It is said before any number; of the paper's own nothing is."""
    small = text_of(label="scale half: fewer images", verdicts=[verdict()])
    said = "<b>Not the paper's experiment</b>, but a smaller one: scale half: fewer images."
    assert said in small
    assert small.index(said) < small.index("Verdicts")
    assert "Not the paper" not in text_of()


def test_a_verdict_has_what_it_rests_on() -> None:
    """The claim with its source, the quantity, the bounds and the numbers."""
    (heads, row) = Page(text_of(verdicts=[verdict("does not hold")])).tables[0]
    assert heads == ["", "claim", "what counts", "must be", "is"]
    assert row == ["does not hold", "It is so", "a", "at least 1", str(TWO)]
    assert '<b class="fails">does not hold</b>' in text_of(verdicts=[verdict("does not hold")])
    assert '<b class="holds">holds</b>' in text_of(verdicts=[verdict()])
    assert '<b class="other">unclear</b>' in text_of(verdicts=[verdict("unclear")])


@pytest.mark.parametrize(
    ("numbers", "missing", "said"),
    [
        ({"": TWO}, 0, ""),
        ({"": ONE}, 0, "(one run each: "),
        ({"": TWO}, 3, "(3 runs are missing)"),
        ({"": Estimate((Reading(1.0, (float("nan"), float("nan"))),) * 2)}, 0, "(?: it is not known how many"),
    ],
)
def test_what_is_not_known_is_said_beside_a_verdict(numbers: dict[str, Estimate], missing: int, said: str) -> None:
    """Single runs, missing ones, and test sets of unknown size."""
    found = Page(text_of(verdicts=[verdict("unclear", numbers, missing)])).tables[0][1][4]
    assert said in found
    assert bool(said) == ("(" in found)


def test_bounds_that_were_changed_are_told() -> None:
    """Else it is said that they were there before the runs."""
    changed = "were changed after the experiment was begun"
    assert changed in text_of(verdicts=[verdict()], bounds_stand=False)
    whole = text_of(verdicts=[verdict()])
    assert changed not in whole
    assert "The bounds stood before the runs." in whole


def test_the_papers_numbers_are_beside_ours() -> None:
    """With their difference; a guesser's is said to be one, and what is not there yet is a dash."""
    ratio = Published("a", {"n": 1}, 4, 0.5, source="table 1", over={"n": 2})
    compared = [
        Comparison(ratio, "1", TWO, "does not hold"),
        Comparison(Published("a", {}, 9.8, chance=10), "all", None, "no data"),
    ]
    _, first, second = Page(text_of(comparisons=compared)).tables[0]
    assert first == ["1 / 2", "a", str(TWO), "4 ± 0.5", "-2", "does not hold"]
    assert (second[2], second[4], second[5]) == ("-", "-", "no data")
    assert second[3].startswith("9.8, chance")


def test_a_picture_is_within_the_page() -> None:
    """With its caption, and its files to be saved."""
    files = [Inside("loss.png", "data:image/png;base64,iVBORw=="), Inside("loss.csv", "data:text/csv;base64,YSxi")]
    figure = Figure("curves", "Loss", "a", caption="As it falls.")
    made = text_of(pictures=[Drawn(figure, files)])
    assert '<img alt="Loss" src="data:image/png;base64,iVBORw==">' in made
    assert "As it falls." in made
    assert [target for tag, target in Page(made).links if tag == "a"] == [one.address for one in files]
    assert '<a download="loss.csv"' in made


def test_maps_with_numbers_under_the_mouse_stand_for_a_picture() -> None:
    """Which can be saved all the same; the title says what is smaller than in the paper."""
    file = Inside("a.png", "data:image/png;base64,iVBORw==")
    drawn = Drawn(Figure("layers", "Strata", "a"), [file], [("true labels", Markup("<svg><path/></svg>"))])
    made = text_of(pictures=[drawn], label="scale half")
    assert "<b>Strata (scale half)</b>" in made
    assert '<figcaption>true labels</figcaption><div class="wide"><svg><path/></svg></div>' in made
    assert "<img" not in made
    assert Page(made).links == [("a", file.address)]


def test_every_run_has_its_command_and_what_it_was_run_with() -> None:
    """Its last command, versions and data; one that has not finished has the command that it would be begun with."""
    done = result({"seed": 0}, 0.5)
    assert done.record
    facts = {
        "commands": ["stratoscope fit a", "stratoscope resume b"],
        "versions": {"torch": "2.12"},
        "data": {"train": "0123456789abcdef0123"},
        "code": {"commit": "abc", "changed": True},
    }
    runs = [Result(done.planned, replace(done.record, record=facts)), Result(result({"seed": 1}).planned, None)]
    made = text_of(runs)
    assert "1 of 2 runs finished." in made
    for part in ("<pre>stratoscope resume b</pre>", "torch 2.12", "train 0123456789abcdef<", "code: abc, changed"):
        assert part in made
    assert "fit a<" not in made
    assert "<summary>1 (not finished)</summary><pre>stratoscope fit" in made


def test_numbers_have_their_units_and_groups_without_runs_a_dash() -> None:
    """Groups are those of equal labels."""
    rows: list[dict[str, Any]] = [{"n": 1, "runs": 2, "a": TWO}, {"n": 2, "runs": 0, "a": ""}]
    assert Page(text_of(table=rows)).tables == [[["n", "runs", "a, %"], ["1", "2", str(TWO)], ["2", "0", "-"]]]
