"""The bounds of the shipped experiments: what the papers found keeps them, and a table says how each was chosen."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from stratoscope.experiments.chance import at_chance
from stratoscope.experiments.claims import FAILS, HOLDS, _kept
from stratoscope.experiments.experiment import Claim, Experiment, Published
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.experiments.measured import Reading, as_share
from stratoscope.experiments.quantities import Estimate

ROOT = Path(__file__).parents[3]
CLAIMS = [(name, claim) for name in experiment_names() for claim in read_experiment(name).claims]
NAMES = [f"{name}: {claim.text}" for name, claim in CLAIMS]
# Zhang et al. 2017, table 1: test accuracies with weight decay and without; training and test accuracy on random labels
TABLE_1 = {
    "Inception": (86.03, 85.75, 100, 9.78),
    "Inception w/o batch norm": (83.00, 82.00, 100, 10.12),
    "AlexNet": (77.36, 76.07, 99.82, 9.86),
    "MLP 3x512": (53.35, 52.39, 100, 10.48),
    "MLP 1x512": (50.39, 50.51, 99.34, 10.61),
}
# the same, figure 1a, thousand steps of Inception to a training loss of 0.1 and of 0.02
FIGURE_1A = {"true labels": (3.5, 4.7), "random pixels": (8.2, 9.4), "random labels": (13.7, 14.5)}


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=NAMES)
def test_what_is_published_keeps_the_bounds(name: str, claim: Claim) -> None:
    """Each number by itself has the verdict of its paper; how the bounds were chosen is written beside them."""
    assert claim.basis
    assert claim.paper or "no number" in claim.basis or "paper" not in claim.source
    experiment = read_experiment(name)
    for number in claim.paper:
        if claim.chance is None:
            assert _kept(Estimate((Reading(number),)), claim.at_least, claim.at_most) == HOLDS
        else:
            share = as_share(number, experiment.quantities[claim.quantity])
            chance = as_share(claim.chance, experiment.quantities[claim.quantity])
            assert at_chance([(round(10_000 * share), 10_000)], chance, 5, 0.03) == (True, True)


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=NAMES)
def test_bounds_follow_the_words(name: str, claim: Claim) -> None:
    """Of "some x" both bounds are there; and no bound is so far away that nothing could break it."""
    if re.search(r"\bsome (\d|one|two|three)", claim.text):
        assert claim.at_least is not None
        assert claim.at_most is not None
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", claim.text.partition("some ")[2])]
        assert min(numbers) / 2 < claim.at_least < claim.at_most < 1.5 * max(numbers)
    for number in claim.paper:
        for end in (claim.at_least, claim.at_most):
            # no farther from what is published than half of it, or than a test set can tell, whichever is more
            # unless the claim has no amount: then it is the end of what "more" can be
            far = max(4.1, 0.75 * max(map(abs, claim.paper)))
            assert end is None or abs(end - number) <= far or end == (claim.over is not None)


def test_a_claim_can_fail() -> None:
    """What no network does, or every network does, breaks or leaves open every claim with bounds."""
    for _, claim in CLAIMS:
        if claim.chance is None:
            far = [-1e6, 1e6]
            verdicts = {_kept(Estimate((Reading(one),)), claim.at_least, claim.at_most) for one in far}
            assert FAILS in verdicts


def of(experiment: Experiment, quantity: str, **labels: str) -> float:
    """A published number of an experiment's file."""
    found: list[Published] = [
        one
        for one in experiment.published
        if one.quantity == quantity
        and not one.over
        and all(one.of.get(axis) == label for axis, label in labels.items())
    ]
    (number,) = found
    return number.value


def claim_of(name: str, text: str) -> Claim:
    """A shipped claim."""
    (found,) = [claim for of_name, claim in CLAIMS if of_name == name and claim.text == text]
    return found


def test_the_numbers_beside_the_claims_are_those_of_the_papers() -> None:
    """Worked out from the published tables, written down here once more, and from the experiments' own entries."""
    table, figure = read_experiment("zhang2017/table1"), read_experiment("zhang2017/figure1")
    for network, (decay, none, trained, guessed) in TABLE_1.items():
        assert of(table, "test accuracy", network=network, regularisation="weight decay", labels="true") == decay
        assert of(table, "test accuracy", network=network, regularisation="none", labels="true") == none
        assert of(table, "training accuracy", network=network, labels="random") == trained
        assert of(table, "test accuracy", network=network, labels="random") == guessed
    columns = list(zip(*TABLE_1.values(), strict=True))
    wanted = {
        "On the test set a network of random labels guesses": columns[3],
        "They fit random labels as well": columns[2],
        "and the convolutional ones generalise": columns[1][:3],
        "as do, less well, the perceptrons": columns[1][3:],
        "Weight decay is not what makes networks generalise": [a - b for a, b, *_ in TABLE_1.values()],
    }
    for text, numbers in wanted.items():
        assert claim_of("zhang2017/table1", text).paper == pytest.approx(list(numbers), abs=0.005)
    norm = claim_of("zhang2017/figure2b", "Batch normalisation improves the test accuracy by some 3 to 4 points")
    assert norm.paper == pytest.approx([86.03 - 83.00, 85.75 - 82.00])
    implicit = read_experiment("zhang2017/figure2b")
    falls = [
        of(implicit, "best test accuracy", network=network) - of(implicit, "test accuracy", network=network)
        for network in ("Inception", "Inception w/o batch norm")
    ]
    assert claim_of("zhang2017/figure2b", "Early stopping would gain nothing").paper == pytest.approx(falls)
    costs = [
        of(figure, "test error", network=network, corruption="0.5")
        - of(figure, "test error", network=network, corruption="true labels")
        for network in ("Inception", "AlexNet", "MLP 1x512")
    ]
    generic = claim_of("zhang2017/figure1", "Half of the labels being random costs every network test error")
    assert generic.paper == pytest.approx(costs)
    texts = ("some 58 points of Inception", "some 46 of AlexNet", "and some 30 of the perceptron")
    for text, cost in zip(texts, costs, strict=True):
        assert claim_of("zhang2017/figure1", text).paper == pytest.approx([cost])
    ratios = [a / b for a, b in zip(FIGURE_1A["random labels"], FIGURE_1A["random pixels"], strict=True)]
    faster = claim_of("zhang2017/figure1", "Random pixels are fitted faster than random labels")
    assert faster.paper == claim_of("zhang2017/figure1", "by some 1.6 times").paper == pytest.approx(ratios, abs=0.005)
    longer = [a / b for a, b in zip(FIGURE_1A["random labels"], FIGURE_1A["true labels"], strict=True)]
    slower = claim_of(
        "zhang2017/figure1", "Random labels take longer to fit than true ones, by a small constant factor"
    )
    assert (slower.paper[0], slower.paper[2]) == pytest.approx((min(longer), max(longer)), abs=0.05)
    epochs = [of(figure, "epochs to a loss of 0.1", corruption=corruption) for corruption in FIGURE_1A]
    assert epochs == pytest.approx([steps[0] * 128 / 50 for steps in FIGURE_1A.values()], abs=0.1)


def test_the_documentation_has_the_table_of_all_bounds() -> None:
    """As `python scripts/bounds.py` prints it."""
    assert bounds_script().table() in (ROOT / "docs" / "reference" / "experiments.md").read_text()


def bounds_script() -> ModuleType:
    """scripts/bounds.py."""
    spec = importlib.util.spec_from_file_location("bounds", ROOT / "scripts" / "bounds.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
