"""Tests of models/parts/label_metrics.py."""

import math
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor
from torch.nn.functional import one_hot

from stratoscope.datamodules import Batch
from stratoscope.models.parts.label_metrics import LabelMetrics


def samples(given: list[int], true: list[int]) -> Batch:
    """A batch with these labels and blank images."""
    n = len(given)
    return Batch(torch.zeros(n, 1, 1, 1), torch.tensor(given), torch.tensor(true), torch.arange(n))


def predicting(classes: list[int]) -> Tensor:
    """Logits of three classes with ln 2 for the predicted one: it has probability 1/2, the others 1/4."""
    return math.log(2) * one_hot(torch.tensor(classes), 3).float()


def random_batch(n: int, seed: int = 0) -> tuple[Tensor, Batch]:
    """Logits of ten classes, and labels of which about half are corrupted."""
    generator = torch.Generator().manual_seed(seed)
    true, drawn = torch.randint(0, 10, (2, n), generator=generator)
    given = torch.where(torch.rand(n, generator=generator) < 0.5, drawn, true)
    logits = torch.randn(n, 10, generator=generator) + 2 * one_hot(true, 10)
    return logits, Batch(torch.zeros(n, 1, 1, 1), given, true, torch.arange(n))


def part(logits: Tensor, batch: Batch, where: slice) -> tuple[Tensor, Batch]:
    """Some of the samples."""
    return logits[where], Batch(*(entry[where] for entry in batch))


def computed(*updates: tuple[Tensor, Batch]) -> dict[str, float]:
    """The metrics after some updates."""
    metrics = LabelMetrics()
    for logits, batch in updates:
        metrics.update(logits, batch)
    return {name: mean.item() for name, mean in metrics.compute().items()}


def test_counted_by_hand() -> None:
    """Three untouched samples (two right), two corrupted (one memorised, one given its true label)."""
    batch = samples(given=[0, 1, 2, 1, 2], true=[0, 1, 2, 0, 1])
    means = computed((predicting([0, 1, 0, 1, 1]), batch))
    assert means == pytest.approx({
        "loss": (3 * math.log(2) + 2 * math.log(4)) / 5,
        "accuracy": 3 / 5,
        "accuracy_untouched": 2 / 3,
        "accuracy_corrupted": 1 / 2,
        "accuracy_true": 3 / 5,
    })


def test_agrees_with_scikit_learn() -> None:
    """All five values are scikit-learn's on 500 random samples."""
    logits, batch = random_batch(500)
    given, true, predicted = batch.given_label, batch.true_label, logits.argmax(1)
    untouched = given == true
    assert computed((logits, batch)) == pytest.approx({
        "loss": log_loss(given, logits.double().softmax(1), labels=list(range(10))),
        "accuracy": accuracy_score(given, predicted),
        "accuracy_untouched": accuracy_score(given[untouched], predicted[untouched]),
        "accuracy_corrupted": accuracy_score(given[~untouched], predicted[~untouched]),
        "accuracy_true": accuracy_score(true, predicted),
    })


def test_batches_of_different_sizes_equal_one() -> None:
    """Every sample counts the same, whatever batch it comes in."""
    logits, batch = random_batch(100)
    parts = [part(logits, batch, where) for where in (slice(0, 7), slice(7, 8), slice(8, 100))]
    assert computed(*parts) == pytest.approx(computed((logits, batch)), rel=1e-6)


def test_without_corruption_there_is_one_accuracy() -> None:
    """With all given labels true, only loss and accuracy are there."""
    means = computed((predicting([0, 1]), samples(given=[0, 2], true=[0, 2])))
    assert means == pytest.approx({"loss": (math.log(2) + math.log(4)) / 2, "accuracy": 0.5})


def test_with_all_labels_corrupted_none_is_untouched() -> None:
    """Without an untouched sample there is no accuracy on untouched ones, rather than 0/0."""
    means = computed((predicting([1, 0]), samples(given=[1, 2], true=[0, 0])))
    assert means.keys() == {"loss", "accuracy", "accuracy_corrupted", "accuracy_true"}
    assert (means["accuracy"], means["accuracy_corrupted"], means["accuracy_true"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("corrupted_in", [0, 1])
def test_corruption_in_one_batch_counts_for_all(corrupted_in: int) -> None:
    """Whether labels are corrupted is asked of the whole epoch, not of its last batch."""
    batches = [samples(given=[0, 1], true=[0, 1]) for _ in range(2)]
    batches[corrupted_in] = samples(given=[0, 1], true=[0, 2])
    means = computed(*((predicting([0, 1]), batch) for batch in batches))
    assert (means["accuracy_untouched"], means["accuracy_corrupted"], means["accuracy_true"]) == (1, 1, 0.75)


def test_devices_are_summed() -> None:
    """Torchmetrics' synchronisation of two devices with different numbers of samples gives the whole's values."""
    logits, batch = random_batch(100)
    here, there = LabelMetrics(), LabelMetrics()
    here.update(*part(logits, batch, slice(0, 30)))
    there.update(*part(logits, batch, slice(30, 100)))
    others = [there.metric_state[name] for name in here.metric_state]

    def gather(state: Tensor, group: object = None) -> list[Any]:
        return [state, others.pop(0)]

    here.dist_sync_fn, here.distributed_available_fn = gather, lambda: True
    merged = {name: mean.item() for name, mean in here.compute().items()}
    assert not others
    assert merged == pytest.approx(computed((logits, batch)), rel=1e-6)


def test_reset_forgets() -> None:
    """After a reset only later batches count."""
    metrics = LabelMetrics()
    metrics.update(*random_batch(50))
    metrics.compute()
    metrics.reset()
    metrics.update(*random_batch(20, seed=1))
    means = {name: mean.item() for name, mean in metrics.compute().items()}
    assert means == computed(random_batch(20, seed=1))


def test_the_mean_loss_is_exact_over_many_samples() -> None:
    """200 batches of 500 samples give the float64 mean to float32's last digits: the sum is kept in float64."""
    logits, batch = random_batch(500)
    metrics = LabelMetrics()
    for _ in range(200):
        metrics.update(logits, batch)
    exact = torch.nn.functional.cross_entropy(logits.double(), batch.given_label).item()
    assert metrics.compute()["loss"].item() == pytest.approx(exact, rel=1.2e-7)


def test_metrics_keep_no_graph() -> None:
    """The states need no gradient, so that an epoch's activations are not held."""
    logits, batch = random_batch(10)
    metrics = LabelMetrics()
    metrics.update(logits.requires_grad_(), batch)
    assert not any(mean.requires_grad for mean in metrics.compute().values())
