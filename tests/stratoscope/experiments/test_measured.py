"""Tests of stratoscope/experiments/measured.py: how far a number may be off, worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stratoscope.experiments.experiment import Quantity
from stratoscope.experiments.measured import Reading, reading, relative
from stratoscope.files.table import COLUMNS, Table
from stratoscope.probes.statistics.interval import Z95
from stratoscope.results.record import RunRecord

ACCURACY = "test/accuracy"


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Wilson's interval by its definition: where |p - share| is 1.96 standard deviations of p."""
    z, share = 1.959963984540054, correct / count
    roots = np.roots([1 + z * z / count, -(2 * share + z * z / count), share * share]).real
    return float(min(roots)), float(max(roots))


def run(rows: list[dict[str, Any]], probes: list[dict[str, Any]] | None = None, **options: Any) -> RunRecord:
    """A finished run; `samples` are what run.json says of the sizes of its sets."""
    samples = options.pop("samples", {"train": 1000, "test": 1000})
    settings = {key: value for key, value in options.items() if "." not in key}
    settings["trainer"] = {key.partition(".")[2]: value for key, value in options.items() if "." in key}
    tables = {"probes": Table({name: COLUMNS[name] for name in (probes or [{}])[0]}, probes or [])}
    return RunRecord(Path("x"), "x", "finished", settings, {"samples": samples}, rows, tables)


def epochs(*values: float, every: int = 1, metric: str = ACCURACY) -> list[dict[str, Any]]:
    """A metric at epochs 0, every, 2 every, ..."""
    return [{"epoch": every * place, metric: value} for place, value in enumerate(values)]


def found(record: RunRecord, quantity: Quantity, **sizes: int) -> Reading:
    """What is read, which is a number."""
    one = reading(record, quantity, sizes)
    assert isinstance(one, Reading)
    return one


def test_an_accuracy_is_off_by_what_the_test_set_leaves() -> None:
    """Wilson's interval of what was counted, in the unit asked for; of a training set there is none."""
    record = run(epochs(0.1, 0.9))
    low, high = wilson(900, 1000)
    one = found(record, Quantity(ACCURACY, percent=True))
    assert (one.value, one.low, one.high) == pytest.approx((90, 100 * low, 100 * high))
    assert one.counted == (900, 1000)
    error = found(record, Quantity(ACCURACY, percent=True, error=True))
    assert (error.value, error.low, error.high) == pytest.approx((10, 100 - 100 * high, 100 - 100 * low))
    train = found(run(epochs(0.5, 0.995, metric="train/accuracy")), Quantity("train/accuracy"))
    assert (train.value, train.low, train.high, train.counted) == (0.995, 0.995, 0.995, None)


def test_probes_have_the_interval_of_their_counts() -> None:
    """On the test set; what they reach on the training set is no sample of anything."""
    usual = {"epoch": 3, "layer": "conv1", "labels": "true_label", "chosen": True, "accuracy": 0.6}
    rows = [{**usual, "split": split, "correct": 120, "count": 200} for split in ("train", "test")]
    one = found(run([], rows), Quantity(probe="true_label test"))
    assert (one.low, one.high) == pytest.approx(wilson(120, 200))
    assert one.counted == (120, 200)
    train = found(run([], rows), Quantity(probe="true_label train"))
    assert (train.low, train.high) == (0.6, 0.6)


def test_a_difference_has_the_errors_of_both() -> None:
    """The square root of the sum of their squares; an epoch less itself has none."""
    (l1, u1), (l2, u2) = wilson(500, 1000), wilson(700, 1000)
    gain = found(run(epochs(0.5, 0.7)), Quantity(ACCURACY, take="gain", percent=True))
    assert gain.value == pytest.approx(20)
    assert gain.low == pytest.approx(20 - 100 * math.hypot(0.7 - l2, u1 - 0.5))
    assert gain.high == pytest.approx(20 + 100 * math.hypot(u2 - 0.7, 0.5 - l1))
    error = found(run(epochs(0.5, 0.7)), Quantity(ACCURACY, take="gain", percent=True, error=True))
    assert (error.value, error.low, error.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    fall = found(run(epochs(0.5, 0.7)), Quantity(ACCURACY, take="fall"))
    assert (fall.value, fall.low, fall.high) == (0, 0, 0)  # the last is the largest
    a, b = found(run(epochs(0.7)), Quantity(ACCURACY)), found(run(epochs(0.5)), Quantity(ACCURACY))
    between = relative(a, b, minus=True)
    assert (100 * between.low, 100 * between.high) == pytest.approx((gain.low, gain.high))


def test_differences_hold_the_truth_as_often_as_they_say() -> None:
    """Two networks on the same 1,000 images: independent of each other, and with many images right in both."""
    generator = np.random.default_rng(0)
    for shared in (0.0, 0.8):
        hits = 0
        for _ in range(400):
            hard, own = generator.random(1000), generator.random((2, 1000))
            difficulty = np.where(generator.random(1000) < shared, hard, own)  # the same for both, or not
            right = [float((row < p).mean()) for row, p in zip(difficulty, (0.70, 0.66), strict=True)]
            one, other = (found(run(epochs(value)), Quantity(ACCURACY)) for value in right)
            difference = relative(one, other, minus=True)
            hits += difference.low <= 0.04 <= difference.high
        assert hits / 400 >= 0.93, shared  # 95 % but for chance, more where images are shared


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_mean_loss_is_taken_to_vary_more_than_it_does() -> None:
    """By its error rate; the losses of real classifiers vary less, from the first step to overfitting."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    for strength, steps in ((1e-6, 1), (1e-3, 5), (1.0, 20), (1e4, 100)):
        fit = LogisticRegression(C=strength, max_iter=steps).fit(x[:300], y[:300])
        logs = fit.predict_log_proba(x[300:])
        loss = -logs[np.arange(len(logs)), y[300:]]
        accuracy, n = float((logs.argmax(1) == y[300:]).mean()), len(loss)
        rows = [{"epoch": 1, "test/loss": float(loss.mean()), ACCURACY: accuracy}]
        one = found(run(rows, samples={"test": n}), Quantity("test/loss"))
        wanted = 1.96 * float(loss.mean()) * math.sqrt((2 / (1 - accuracy) - 1) / n)
        assert one.sampling == pytest.approx((wanted, wanted), rel=1e-3)
        assert wanted >= 1.96 * float(loss.std()) / math.sqrt(n)
    assert math.isnan(found(run(epochs(0.5, metric="test/loss")), Quantity("test/loss")).low)  # no accuracy beside it


@pytest.mark.parametrize(
    ("samples", "options", "sizes", "value", "count"),
    [
        ({"test": 1000}, {}, {}, 0.5, 1000),
        ({}, {"data": {"class_path": "stratoscope.datamodules.CIFAR10"}}, {}, 0.1234, 10_000),  # the first releases'
        (
            {},
            {"data": {"class_path": "stratoscope.datamodules.CIFAR10"}, "trainer.limit_val_batches": 4},
            {},
            0.1235,
            2000,
        ),
        ({"test": 1000}, {"trainer.limit_val_batches": 1}, {}, 0.5, 500),
        ({"test": 1000}, {"trainer.limit_val_batches": 0.5}, {}, 0.5, 500),
        ({"test": 1000}, {"trainer.limit_val_batches": 1.0}, {}, 0.5, 1000),
        ({"test": 1000}, {"trainer.limit_val_batches": 1, "trainer.devices": 2}, {}, 0.5, 1000),
        ({"test": 1000}, {"trainer.overfit_batches": 1, "trainer.limit_val_batches": None}, {}, 0.5, 500),
        ({"test": 1000}, {"trainer.overfit_batches": 0.5, "trainer.limit_val_batches": 1.0}, {}, 0.5, 500),
        ({"test": 1000}, {"trainer.overfit_batches": 0.0, "trainer.limit_val_batches": None}, {}, 0.5, 1000),
        ({"test": 1000}, {"trainer.limit_val_batches": 1, "trainer.num_nodes": 2}, {}, 0.5, 1000),
        ({"test": 1500}, {"trainer.limit_val_batches": 1, "trainer.devices": [0, 1]}, {}, 0.5, 1000),
        ({"test": 1500}, {"trainer.limit_val_batches": 1, "trainer.devices": "auto"}, {}, 0.5, 500),
        ({}, {"data": {"class_path": "my.Data"}}, {"test": 300}, 0.5, 300),
        ({}, {"data": {"class_path": "my.Data"}}, {}, 0.5, None),
        ({"test": 1000}, {}, {}, 0.12345, None),  # of another number of samples
    ],
)
def test_the_size_of_the_test_set(
    samples: dict[str, int], options: dict[str, Any], sizes: dict[str, int], value: float, count: int | None
) -> None:
    """As the run wrote it down, as its data or the experiment say, less what was left out; else it is not known."""
    one = found(run(epochs(value), samples=samples, **options), Quantity(ACCURACY), **sizes)
    assert one.counted == (None if count is None else (round(value * count), count))
    assert math.isnan(one.low) == (count is None)


def test_epochs_are_whole_and_not_all_are_looked_at() -> None:
    """It may have been the one before, or one of those that were left out before it; not one after it."""
    memorise = Quantity("train/accuracy", at_least=0.99)
    every = [
        (epochs(0.1, 0.5, 0.99, 1.0, metric="train/accuracy"), 2, 1),
        (epochs(0.1, 0.5, 0.99, 1.0, every=10, metric="train/accuracy"), 20, 10),
        ([{"epoch": 10, "train/accuracy": 1.0}], 10, 10),
        ([{"epoch": 0, "train/accuracy": 1.0}], 0, 0),
    ]
    for rows, epoch, step in every:
        one = found(run(rows), memorise)
        assert (one.value, one.low, one.high) == (epoch, epoch - step, epoch)
    # of a test set the accuracy itself may be off: reached at epoch 1 or not before epoch 3
    one = found(run(epochs(0.1, 0.49, 0.5, 0.6)), Quantity(ACCURACY, at_least=0.5))
    assert (one.value, one.low, one.high) == (2, 0, 3)
    at_once = found(run(epochs(0.49, 0.5, 0.6)), Quantity(ACCURACY, at_least=0.5))
    assert (at_once.low, at_once.high) == (0, 2)  # not before the beginning


def test_never_is_no_number() -> None:
    """Only that it is later than the last epoch is known, and so of what is relative to it."""
    never = found(run(epochs(0.1, 0.2, 0.2, metric="train/accuracy")), Quantity("train/accuracy", at_least=0.99))
    assert (never.value, never.low, never.high) == (math.inf, 3, math.inf)
    five = Reading(5.0, rounding=(1.0, 1.0))
    for one, other, minus, wanted in (
        (never, five, True, (3 - 6, math.inf)),
        (five, never, True, (-math.inf, 6 - 3)),
        (never, five, False, (3 / 6, math.inf)),
        (five, never, False, (0, 6 / 3)),
        (never, never, True, (-math.inf, math.inf)),
    ):
        found_ = relative(one, other, minus)
        assert math.isnan(found_.value)
        assert (found_.low, found_.high) == pytest.approx(wanted)


def test_ratios_of_whole_numbers_have_the_rounding_of_both() -> None:
    """40 by 39 epochs is anything from 39/40 to 41/38; by 1 ± 1 it is anything above."""
    forty, thirty_nine, one = (Reading(value, rounding=(1.0, 1.0)) for value in (40.0, 39.0, 1.0))
    ratio = relative(forty, thirty_nine, minus=False)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((40 / 39, 39 / 40, 41 / 38))
    endless = relative(forty, one, minus=False)
    assert endless.value == 40
    assert (endless.low, endless.high) == (39 / 2, math.inf)
    assert relative(one, one, minus=False).low == 0
    difference = relative(forty, thirty_nine, minus=True)
    assert (difference.low, difference.high) == (-1, 3)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (Reading(0.0), Reading(0.0, sampling=(0.0, 0.1)), (0, math.inf)),
        (Reading(0.5), Reading(0.0, sampling=(0.1, 0.1)), (-math.inf, math.inf)),
        (Reading(-0.5), Reading(0.0, sampling=(0.0, 0.1)), (-math.inf, math.inf)),
        (Reading(0.5), Reading(0.0), (-math.inf, math.inf)),
        (Reading(math.inf, range=(3, math.inf)), Reading(math.inf, range=(3, math.inf)), (0, math.inf)),
        (Reading(0.0), Reading(math.inf, range=(3, math.inf)), (0, 0)),
        (Reading(math.inf, range=(3, math.inf)), Reading(5.0, (math.nan, math.nan)), (-math.inf, math.inf)),
    ],
)
def test_ratios_to_what_may_be_nothing(one: Reading, other: Reading, wanted: tuple[float, float]) -> None:
    """Of what is not negative the lower end is known; 0 times infinity is nothing of the kind."""
    ratio = relative(one, other, minus=False)
    assert math.isnan(ratio.value)
    assert (ratio.low, ratio.high) == wanted


def test_ratios_to_very_little_are_numbers() -> None:
    """However little: its square is no more a number."""
    ratio = relative(Reading(1e-200), Reading(1e-200), minus=False)
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)
    assert relative(Reading(0.0), Reading(5e-324, sampling=(0.1, 0.1)), minus=False).sampling == (0, 0)


def test_two_measurements_with_equal_numbers_are_two() -> None:
    """So what they differ by is not known to be nothing: of epochs, and of layers."""
    gain = found(run(epochs(0.5, 0.5)), Quantity(ACCURACY, take="gain"))
    low, high = wilson(500, 1000)
    assert gain.high == pytest.approx(math.hypot(high - 0.5, 0.5 - low))
    assert gain.low == -gain.high
    rows = [layer("conv1", 600), layer("conv2", 600)]
    behind = found(run([], rows), Quantity(probe="true_label test conv2", take="behind_best"))
    assert behind.value == 0
    assert behind.low < -0.03
    alone = found(run(epochs(0.5)), Quantity(ACCURACY, take="gain"))
    assert (alone.low, alone.high) == (0, 0)


@pytest.mark.parametrize("value", [87.5, 1.5, -0.5, 1e308])
def test_what_is_no_share_has_no_known_error(value: float) -> None:
    """An accuracy in percent, or a damaged one: no traceback, and no interval that is none."""
    for metric in (ACCURACY, "test/top5_acc"):
        one = found(run(epochs(value, metric=metric)), Quantity(metric))
        assert (one.value, one.counted) == (value, None)
        assert math.isnan(one.low)
    loss = found(run([{"epoch": 1, "test/loss": 0.5, ACCURACY: value}]), Quantity("test/loss"))
    assert math.isnan(loss.low)


def test_more_right_than_there_are_is_no_count() -> None:
    """In a table of probes that was changed."""
    one = found(run([], [{**layer("conv1", 600), "correct": 1600}]), Quantity(probe="true_label test"))
    assert math.isnan(one.low)


def test_what_is_no_mean_over_samples_is_exact() -> None:
    """By its name, or as the experiment says; else it is not known how far it is off."""
    for metric in ("seconds", "lr-SGD", "lr-SGD/pg1"):
        assert found(run(epochs(0.5, metric=metric)), Quantity(metric)).sampling == (0, 0)
    for metric in ("test/f1", "human/entropy", "images"):
        assert math.isnan(found(run(epochs(0.5, metric=metric)), Quantity(metric)).low)
        assert found(run(epochs(0.5, metric=metric)), Quantity(metric, exact=True)).sampling == (0, 0)


def layer(name: str, correct: int, count: int = 1000) -> dict[str, Any]:
    """A row of probes.csv."""
    usual = {"epoch": 1, "labels": "true_label", "split": "test", "chosen": True}
    return {**usual, "layer": name, "accuracy": correct / count, "correct": correct, "count": count}


def test_a_layer_behind_the_best_may_be_the_best_and_the_best_may_not_be() -> None:
    """Within the error of the difference."""
    rows = [layer("conv1", 600), layer("conv2", 595), layer("fc", 300)]
    behind = found(run([], rows), Quantity(probe="true_label test conv2", take="behind_best", percent=True))
    (l1, u1), (l2, _) = wilson(600, 1000), wilson(595, 1000)
    assert behind.value == pytest.approx(-0.5)
    assert behind.low == pytest.approx(-0.5 - 100 * math.hypot(0.595 - l2, u1 - 0.6))
    assert behind.high == 0
    best = found(run([], rows), Quantity(probe="true_label test conv1", take="behind_best", percent=True))
    assert (best.value, best.high) == (0, 0)
    assert best.low == pytest.approx(0.5 - 100 * math.hypot(0.6 - l1, wilson(595, 1000)[1] - 0.595))
    alone = found(run([], rows), Quantity(probe="true_label test conv1 conv2 fc", take="behind_best"))
    assert (alone.low, alone.value, alone.high) == (0, 0, 0)


def test_a_rank_correlation_is_as_sure_as_the_order_of_the_layers() -> None:
    """Layers far apart have one order; those within their errors have many."""
    quantity = Quantity(probe="true_label test", take="rank_correlation")
    far = found(run([], [layer(f"l{place}", 100 + 150 * place) for place in range(6)]), quantity)
    assert (far.value, far.low, far.high) == pytest.approx((1, 1, 1))
    near = found(run([], [layer(f"l{place}", 500 + 2 * place) for place in range(6)]), quantity)
    assert near.value == pytest.approx(1)
    assert near.low < 0
    again = found(run([], [layer(f"l{place}", 500 + 2 * place) for place in range(6)]), quantity)
    assert again == near  # drawn from a seed


def test_the_best_layer_of_a_loss_has_the_smallest() -> None:
    """And whole numbers are values too; a table with measures but without values has none."""
    place = {"epoch": 1, "labels": "true_label", "split": "test", "chosen": True}
    found = run(
        [],
        [
            {**place, "layer": "good", "loss": 0.1, "iterations": 7, "accuracy": 0.9},
            {**place, "layer": "bad", "loss": 2.3, "iterations": 9, "accuracy": 0.2},
        ],
    )
    loss = Quantity(probe="true_label test", value="loss")
    assert getattr(reading(found, loss, {}), "value", None) == 0.1
    assert reading(found, Quantity(probe="true_label test", value="loss", take="best_layer"), {}) == "good"
    assert reading(found, Quantity(probe="true_label test", take="best_layer"), {}) == "good"
    bad = Quantity(probe="true_label test bad", value="iterations")
    assert getattr(reading(found, bad, {}), "value", None) == 9
    assert reading(found, Quantity(probe="true_label test", value="rank"), {}) is None


def path_run(*rows: dict[str, Any], train: int = 100) -> RunRecord:
    """A run with a table path, of these points."""
    names = ("epoch", "alpha", "split", "loss", "excess", "excess_error", "count", "failed")
    whole = [{**dict.fromkeys(names), "epoch": 1, "split": "test", "failed": "", **row} for row in rows]
    one = run([])
    tables = {"path": Table({name: COLUMNS[name] for name in names}, whole)}
    return replace(one, tables=tables, record={**one.record, "samples": {"train": train, "test": 100}})


ENDS = [{"alpha": 0.0, "excess": 0.0, "excess_error": 0.0}, {"alpha": 1.0, "excess": 0.0, "excess_error": 0.0}]
BARRIER = Quantity(column="loss", table="path", where={"split": "test"}, take="barrier")


def test_a_barrier_has_the_errors_of_all_points() -> None:
    """An end, which has none, does not make it certain that there is no barrier."""
    found = reading(path_run(*ENDS, {"alpha": 0.5, "excess": -0.001, "excess_error": 0.2}), BARRIER, {})
    assert isinstance(found, Reading)
    assert found.value == 0.0
    assert found.low == 0.0
    assert found.high == pytest.approx(-0.001 + 0.2 * Z95)


@pytest.mark.parametrize("cells", [{"failed": "MemoryError"}, {"excess": math.nan}, {"excess": math.inf}])
def test_a_barrier_that_is_not_known_everywhere_is_uncertain(cells: dict[str, Any]) -> None:
    """It may be where nothing could be measured; beyond the ends it does not matter."""
    found = reading(path_run(*ENDS, {"alpha": 0.5, **cells}), BARRIER, {})
    assert isinstance(found, Reading)
    assert math.isnan(found.high)
    beyond = reading(path_run(*ENDS, {"alpha": 1.5, "failed": "MemoryError"}), BARRIER, {})
    assert isinstance(beyond, Reading)
    assert beyond.high == 0.0


def test_a_part_of_the_training_set_is_a_sample() -> None:
    """All of it is none."""
    quantity = replace(BARRIER, where={"split": "train"})
    rows = [{**row, "split": "train", "count": 50} for row in ENDS]
    rows.append({"split": "train", "alpha": 0.5, "excess": 0.3, "excess_error": 0.1, "count": 50})
    part, whole = (reading(path_run(*rows, train=size), quantity, {}) for size in (100, 50))
    assert isinstance(part, Reading)
    assert isinstance(whole, Reading)
    assert part.high == pytest.approx(0.3 + 0.1 * Z95)
    assert (whole.low, whole.high) == (0.3, 0.3)
