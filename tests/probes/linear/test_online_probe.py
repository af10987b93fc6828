"""Tests of probes/linear/online_probe.py."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from stratoscope.probes.linear.online_probe import MEMORY, OnlineProbe


def test_a_step_is_that_of_autograd() -> None:
    """Weights after some batches are those of SGD by automatic differentiation, with momentum, penalty and its step."""
    generator = torch.Generator().manual_seed(0)
    probe = OnlineProbe.untrained(9, (2, 4, 5), torch.device("cpu"))
    weight = torch.zeros(2, 4, 6, requires_grad=True)
    velocity = torch.zeros(2, 4, 6)
    seen: list[Tensor] = []
    for _ in range(6):
        features = 3 * torch.randn(7, 5, generator=generator) + 10
        labels = torch.randint(-1, 4, (2, 7), generator=generator)
        before = torch.cat(seen) if seen else features
        deviation = before.std(0, correction=0) if seen else torch.full((5,), math.inf)
        x = torch.cat([(features - before.mean(0)) / deviation, torch.ones(7, 1)], 1)
        logits = torch.einsum("kcd,nd->knc", weight, x)
        losses = torch.stack([cross_entropy(z, y, ignore_index=-1) for z, y in zip(logits, labels, strict=True)])
        objective = losses.sum() + 0.05 * weight[..., :-1].square().sum()
        (gradient,) = torch.autograd.grad(objective, weight)
        sums = probe.sums(features, labels, learn=True)
        assert sums[4:6].tolist() == (labels >= 0).sum(1).tolist()
        torch.testing.assert_close(sums[2:4] / sums[4:6], losses.detach())
        if len(seen) > 1:  # the second batch sees biases only, which are tied
            assert sums[:2].tolist() == (logits.argmax(2) == labels).sum(1).tolist()
        assert torch.equal(probe.sums(features, labels, learn=False), sums[:6])
        probe.step(sums, learning_rate=0.7, momentum=0.8, ridge=0.1)
        velocity = 0.8 * velocity - 0.7 / (x.square().sum(1).mean() / 2 + 0.1) * gradient
        weight = (weight.detach() + velocity).requires_grad_()
        torch.testing.assert_close(probe.weight, weight.detach(), rtol=1e-4, atol=1e-5)
        seen.append(features)


def test_statistics_are_those_of_the_batches_so_far() -> None:
    """Mean and variance are cumulative up to MEMORY batches, also of features far from 0; then they forget."""
    generator = torch.Generator().manual_seed(0)
    probe = OnlineProbe.untrained(3, (1, 2, 3), torch.device("cpu"))
    batches = torch.randn(MEMORY, 8, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor([
        0,
        99,
        7.0,
    ])
    labels = torch.zeros(1, 8, dtype=torch.long)
    for batch in batches:
        probe.step(probe.sums(batch, labels, learn=True), 1.0, 0.9, 0.0)
    everything = batches.flatten(0, 1)
    torch.testing.assert_close(probe.mean, everything.mean(0))
    torch.testing.assert_close(probe.variance, everything.var(0, correction=0), rtol=1e-3, atol=1e-9)
    assert probe.weight[0, :, 2].tolist() == [0, 0]  # a constant feature carries nothing
    before = probe.mean
    probe.step(probe.sums(torch.full((8, 3), 1000.0), labels, learn=True), 1.0, 0.9, 0.0)
    torch.testing.assert_close(probe.mean, before + (1000 - before) / MEMORY)


def test_a_batch_without_rows_changes_nothing() -> None:
    """Not even by momentum: the batch of a layer that is not finite anywhere is as if it had not been."""
    generator = torch.Generator().manual_seed(0)
    probe, sums = OnlineProbe.untrained(5, (1, 3, 5), torch.device("cpu")), torch.zeros(1)
    for _ in range(3):
        features, labels = torch.randn(20, 5, generator=generator), torch.randint(3, (1, 20), generator=generator)
        sums = probe.sums(features, labels, learn=True)
        probe.step(sums, 1.0, 0.9, 1e-3)
    before = dict(vars(probe))
    probe.step(torch.zeros_like(sums), 1.0, 0.9, 1e-3)
    for name, value in before.items():
        torch.testing.assert_close(getattr(probe, name), value, rtol=0, atol=0)


def test_faint_features_bring_no_infinity() -> None:
    """Features whose squares float32 cannot hold count as constant, also when they then are."""
    generator = torch.Generator().manual_seed(0)
    probe, labels = OnlineProbe.untrained(2, (1, 2, 2), torch.device("cpu")), torch.arange(2).repeat(1, 8)
    for _ in range(5):
        faint = 1e-20 * torch.randn(16, 2, generator=generator)
        probe.step(probe.sums(faint, labels, learn=True), 1.0, 0.9, 1e-3)
    probe.step(probe.sums(probe.mean.expand(16, 2), labels, learn=True), 1.0, 0.9, 1e-3)
    assert probe.weight.isfinite().all()


@pytest.mark.parametrize("width", [1, 30, 3000])
@pytest.mark.parametrize("kind", ["plain", "correlated", "heavy", "moved", "awake"])
def test_a_step_never_overshoots(width: int, kind: str) -> None:
    """At a learning rate just below 2 a step without momentum lowers the loss of its own batch, of any features."""
    generator = torch.Generator().manual_seed(width)
    probe = OnlineProbe.untrained(width, (1, 5, width), torch.device("cpu"))
    labels = torch.randint(5, (1, 64), generator=generator)
    for number in range(30):
        features = torch.randn(64, width, generator=generator)
        if kind == "correlated":
            features = features[:, :1] + 1e-2 * features
        if kind == "heavy":
            features = features.pow(5)
        if kind == "moved" and number > 10:
            features = 1e4 * features + 1e5
        if kind == "awake" and number < 25:
            features = 1e-12 * features
        sums = probe.sums(features, labels, learn=True)
        mean, variance = probe.mean, probe.variance
        probe.step(sums, learning_rate=1.99, momentum=0.0, ridge=0.0)
        after = OnlineProbe(width, probe.weight, probe.velocity, mean, variance, probe.batches)
        assert after.sums(features, labels, learn=False)[1] <= sums[1] * (1 + 1e-5)


def test_a_unit_that_wakes_up_does_not_ruin_its_probe() -> None:
    """Features that were all but constant for long and then vary, enormous once standardised, are learnt from again."""
    generator = torch.Generator().manual_seed(0)
    probe, sums = OnlineProbe.untrained(4, (1, 2, 4), torch.device("cpu")), torch.zeros(1)
    for number in range(400):
        labels = torch.randint(2, (1, 64), generator=generator)
        features = torch.randn(64, 4, generator=generator) + 4 * labels.T
        if number < 200:
            features[:, :3] *= 1e-15
        sums = probe.sums(features, labels, learn=True)
        probe.step(sums, learning_rate=1.0, momentum=0.9, ridge=1e-3)
    assert sums[0] / 64 > 0.98


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    """What two processes say about halves of a batch adds up, so they can train one probe."""
    generator = torch.Generator().manual_seed(0)
    probe = OnlineProbe.untrained(5, (2, 3, 5), torch.device("cpu"))
    features, labels = torch.randn(20, 5, generator=generator), torch.randint(-1, 5, (2, 20), generator=generator)
    probe.step(probe.sums(features, labels, learn=True), 1.0, 0.9, 1e-3)
    parts = [probe.sums(features[some], labels[:, some], learn=True) for some in (slice(0, 7), slice(7, None))]
    torch.testing.assert_close(sum(parts), probe.sums(features, labels, learn=True), rtol=1e-4, atol=1e-4)
