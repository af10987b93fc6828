"""Tests of stratoscope/experiments/quantities.py against numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stratoscope.experiments.experiment import Quantity
from stratoscope.experiments.measured import Reading, course, layers, number
from stratoscope.experiments.quantities import Estimate, brief, compared
from stratoscope.probes.statistics.interval import wilson
from tests.small_experiments import record, result

# accuracies 0.1, 0.8, 0.6, 0.7 at epochs 0, 1, 2, 4; epoch 3 has another metric only
ROWS: list[dict[str, Any]] = [
    {"epoch": 0, "test/accuracy": 0.1, "train/loss": None},
    {"epoch": 1, "test/accuracy": 0.8, "train/loss": 2.0},
    {"epoch": 2, "test/accuracy": 0.6, "train/loss": 1.5},
    {"epoch": 3, "test/accuracy": None, "train/loss": 1.25},
    {"epoch": 4, "test/accuracy": 0.7, "train/loss": 1.0},
]


def probe_row(epoch: int, layer: str, accuracy: float | None, **others: Any) -> dict[str, Any]:
    """A row of probes.csv."""
    usual = {"labels": "true_label", "split": "test", "chosen": True}
    return {"epoch": epoch, "layer": layer, "accuracy": accuracy, **usual, **others}


PROBES = [
    probe_row(0, "conv1", 0.5),
    probe_row(0, "conv2", 0.25),
    probe_row(3, "conv1", 0.625),
    probe_row(3, "conv2", 0.75),
    probe_row(3, "conv2", 0.99, chosen=False),  # of another ridge
    probe_row(3, "conv2", 0.98, split="train"),
    probe_row(3, "conv2", 0.97, labels="given_label"),
    probe_row(3, "fc1", None),  # failed
]
ACCURACY = "test/accuracy"


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [
        (Quantity(ACCURACY), 0.7),
        (Quantity(ACCURACY, take="first"), 0.1),
        (Quantity(ACCURACY, take="max"), 0.8),
        (Quantity(ACCURACY, take="min"), 0.1),
        (Quantity(ACCURACY, take="gain"), 0.6),
        (Quantity(ACCURACY, percent=True), 70),
        (Quantity(ACCURACY, error=True), 0.3),
        (Quantity(ACCURACY, error=True, percent=True, take="max"), 90),
        (Quantity(ACCURACY, error=True, percent=True, take="gain"), -60),
        (Quantity(ACCURACY, at_epoch=2), 0.6),
        (Quantity(ACCURACY, at_epoch=2, percent=True), 60),
        (Quantity(ACCURACY, at_epoch=3), None),
        (Quantity(ACCURACY, at_epoch=9), None),
        (Quantity(ACCURACY, at_least=0.6), 1),
        (Quantity(ACCURACY, at_least=60, percent=True), 1),
        (Quantity(ACCURACY, at_least=0.8), 1),
        (Quantity(ACCURACY, at_least=0.81), math.inf),
        (Quantity(ACCURACY, at_most=0.1), 0),
        (Quantity(ACCURACY, at_least=0.5, at_most=0.65), 2),
        (Quantity("train/loss"), 1.0),
        (Quantity("train/loss", take="first"), 2.0),
        (Quantity("train/loss", at_most=1.3), 3),
        (Quantity("train/loss", at_most=0.9), math.inf),
        (Quantity("no/such"), None),
        (Quantity("no/such", at_least=1), None),
        (Quantity(probe="true_label test"), 0.75),
        (Quantity(probe="true_label test", take="first"), 0.5),
        (Quantity(probe="true_label test", take="gain", percent=True), 25),
        (Quantity(probe="true_label test conv1", take="gain"), 0.125),
        (Quantity(probe="true_label test conv1 fc1"), 0.625),
        (Quantity(probe="true_label test", take="best_layer"), "conv2"),
        (Quantity(probe="true_label test conv1", take="best_layer"), "conv1"),
        (Quantity(probe="true_label test", take="rank_correlation"), 1),  # conv1 0.625, conv2 0.75
        (Quantity(probe="true_label test", take="rank_correlation", error=True, percent=True), -1),
        (Quantity(probe="true_label test conv1", take="rank_correlation"), None),
        (Quantity(probe="given_label train", take="rank_correlation"), None),
        (Quantity(probe="true_label test conv1", take="behind_best"), -0.125),
        (Quantity(probe="true_label test conv1", take="behind_best", percent=True), -12.5),
        (Quantity(probe="true_label test conv2", take="behind_best"), 0),
        (Quantity(probe="true_label test conv1 conv2", take="behind_best"), 0),
        (Quantity(probe="true_label test fc1", take="behind_best"), None),
        (Quantity(probe="true_label train"), 0.98),
        (Quantity(probe="given_label test"), 0.97),
        (Quantity(probe="given_label train"), None),
        (Quantity(probe="given_label train", take="best_layer"), None),
        (Quantity(probe="true_label test fc1"), None),
    ],
)
def test_numbers_of_a_run(quantity: Quantity, wanted: float | str | None) -> None:
    """First, last, largest and smallest, gains, epochs and layers, in their units."""
    found = number(record(ROWS, PROBES), quantity)
    assert found == (wanted if isinstance(wanted, str) or wanted is None else pytest.approx(wanted))


def test_the_rank_correlation_of_depth_and_error_in_a_paper() -> None:
    """Alain & Bengio 2016, figure 4a: the error of probes in ResNet-50 rises once; ties share a rank."""
    errors = [0.99, 0.94, 0.89, 0.88, 0.87, 0.82, 0.79, 0.76, 0.77, 0.69, 0.67, 0.62, 0.57, 0.51, 0.41, 0.39, 0.31]
    blocks = [probe_row(0, f"layer{i}", 1 - error) for i, error in enumerate(errors)]
    quantity = Quantity(probe="true_label test", take="rank_correlation", error=True)
    squares = 2  # of the differences of ranks: two neighbours have changed places
    wanted = -1 + 6 * squares / (17 * (17**2 - 1))
    assert number(record([], blocks), quantity) == pytest.approx(wanted)
    tied = [probe_row(0, f"layer{i}", accuracy) for i, accuracy in enumerate([0.5, 0.5, 0.6])]
    assert number(record([], tied), quantity) == pytest.approx(-(0.75**0.5))
    same = [probe_row(0, f"layer{i}", 0.5) for i in range(3)]
    assert number(record([], same), quantity) == 0


def test_courses_are_in_order_and_in_their_unit() -> None:
    """Whatever order the rows are in."""
    quantity = Quantity(ACCURACY, percent=True, error=True)
    assert course(record(ROWS[::-1]), quantity) == pytest.approx({0: 90, 1: 20, 2: 40, 4: 30})
    assert list(course(record(ROWS[::-1]), quantity)) == [0, 1, 2, 4]
    shown = layers(record([], PROBES), Quantity(probe="true_label test"))
    assert shown == {0: {"conv1": 0.5, "conv2": 0.25}, 3: {"conv1": 0.625, "conv2": 0.75}}


def estimate_of(*values: float) -> Estimate:
    """Of numbers that are off by nothing but their spread."""
    return Estimate(tuple(map(Reading, values)))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_means_and_intervals_are_those_of_scipy(n: int) -> None:
    """Student's t, 95 %."""
    values = np.random.default_rng(n).normal(50, 4, n)
    estimate = estimate_of(*values)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert (estimate.mean - estimate.margin, estimate.mean + estimate.margin) == pytest.approx((low, high))


def test_a_known_interval() -> None:
    """Of 1, 2 and 3: 2 ± 4.3027 / sqrt(3)."""
    estimate = estimate_of(1.0, 2.0, 3.0)
    assert estimate.margin == pytest.approx(4.302653 / math.sqrt(3))
    assert str(estimate) == "2 ± 2.484"


@pytest.mark.parametrize(
    ("values", "text", "margin"),
    [
        ((0.5,), "0.5", 0),
        ((12345.6,), "12,346", 0),
        ((), "-", 0),
    ],
)
def test_single_and_endless_numbers(values: tuple[float, ...], text: str, margin: float) -> None:
    """Nothing is known of the spread of one number."""
    assert (str(estimate_of(*values)), estimate_of(*values).margin) == (text, margin)


def test_what_never_comes_has_no_mean() -> None:
    """It is said in how many epochs it did not."""
    never = Reading(math.inf, range=(41.0, math.inf))
    for estimate in (Estimate((never,)), Estimate((never, Reading(30.0)))):
        assert str(estimate).startswith("never in ")
        assert (estimate.margin, estimate.high) == (0, math.inf)
    assert str(Estimate((never,))) == "never in 40 epochs"


def test_spread_sampling_and_rounding_together() -> None:
    """The first two by their squares, the last added; the test set is the same in every repetition."""
    one, two, three = (Reading(value, (0.3, 0.4), (1.0, 1.0)) for value in (1.0, 2.0, 3.0))
    spread = 4.302653 / math.sqrt(3)
    estimate = Estimate((one, two, three))
    assert estimate.low == pytest.approx(2 - math.hypot(spread, 0.3) - 1)
    assert estimate.high == pytest.approx(2 + math.hypot(spread, 0.4) + 1)
    assert (Estimate((one,)).low, Estimate((one,)).high) == pytest.approx((-0.3, 2.4))
    assert str(Estimate((one,))) == "1 ± 1.4"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Networks that differ from seed to seed, on one test set of 500 images, drawn anew 300 times."""
    generator = np.random.default_rng(0)
    for seeds in (1, 2, 5):
        hits = 0
        for _ in range(300):
            difficulty = generator.random(500)  # of the images, the same for all seeds
            skill = 0.7 + (generator.normal(0, 0.02, seeds) if seeds > 1 else np.zeros(1))
            right = [int((difficulty < one).sum()) for one in skill]
            readings = []
            for count in right:
                low, high = wilson(count, 500)
                readings.append(Reading(count / 500, (count / 500 - low, high - count / 500)))
            estimate = Estimate(tuple(readings))
            hits += estimate.low <= 0.7 <= estimate.high
        assert hits / 300 >= 0.92, seeds


def test_numbers_are_brief() -> None:
    """Four digits, or all before the point."""
    assert [brief(one) for one in (0.123456, 99.996, 1234.5, -0.5, 1e6, 5e-7)] == [
        "0.1235", "100", "1,234", "-0.5", "1,000,000", "5e-07",
    ]  # fmt: skip


def at_end(network: str, seed: int, value: float, **more: Any) -> Any:
    """A run that ends with a value."""
    return result({"network": network, **more, "seed": seed}, 0.0, value)


RUNS = [
    at_end("a", 0, 0.5),
    at_end("a", 1, 0.75),
    at_end("a", 2, 1.0),
    at_end("b", 1, 0.25),
    at_end("b", 0, 0.125),
    at_end("b", 3, 0.875),
]
A, B = (("network", "a"),), (("network", "b"),)


def test_without_another_selection_a_group_is_all_its_seeds() -> None:
    """Groups are those of equal labels, the seed aside."""
    found = compared(RUNS, Quantity(ACCURACY), {}, None, None)
    assert {cell: one.values for cell, one in found.items()} == {A: (0.5, 0.75, 1.0), B: (0.25, 0.125, 0.875)}


def test_differences_and_ratios_pair_seeds() -> None:
    """Seed by seed, whatever their order; seeds that only one has do not count."""
    (difference,) = compared(RUNS, Quantity(ACCURACY), {"network": "a"}, {"network": "b"}, None).values()
    assert difference.values == (0.375, 0.5)
    (ratio,) = compared(RUNS, Quantity(ACCURACY), {"network": "a"}, None, {"network": "b"}).values()
    assert ratio.values == (4.0, 3.0)
    (percent,) = compared(RUNS, Quantity(ACCURACY, percent=True), {"network": "a"}, {"network": "b"}, None).values()
    assert percent.values == (37.5, 50)


def test_counterparts_share_the_labels_left_open() -> None:
    """Each group is compared with the one that differs on the named axis only."""
    runs = [
        at_end(network, 0, value, n=n)
        for network, n, value in [("a", 1, 0.5), ("a", 2, 0.75), ("b", 1, 0.25), ("b", 2, 0.125), ("c", 3, 1.0)]
    ]
    found = compared(runs, Quantity(ACCURACY), {"network": ["a", "c"]}, {"network": "b"}, None)
    assert {dict(cell)["n"]: one.values for cell, one in found.items()} == {1: (0.25,), 2: (0.625,)}


def test_what_is_relative_to_an_epoch_that_never_comes_is_not_known() -> None:
    """Nor is a ratio to 0; both are there all the same, so that nobody takes the others for all."""
    runs = [result({"network": "a", "seed": 0}, 0.1, 0.2), result({"network": "b", "seed": 0}, 0.1, 0.9)]
    for bound in (0.5, 0.95, 0.0):  # reached by one, by none, and by both before the first epoch
        quantity = Quantity(ACCURACY, at_least=bound)
        (ratio,) = compared(runs, quantity, {"network": "a"}, None, {"network": "b"}).values()
        assert str(ratio).startswith("not known")
