"""Tests of probes/linear/problem.py."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from stratoscope.probes.linear.logistic import fit_logistic
from stratoscope.probes.linear.problem import SAMPLE, WIDE, WIDE_SAMPLE, Problem, sample_size
from tests.probes.linear.problems import problem as drawn

RIDGES = torch.tensor([1e-1, 1e-3], dtype=torch.float64)


def two_problems() -> tuple[Problem, Tensor]:
    """Two label kinds on the same features, each with its ridge, and parameters that fit neither."""
    features, labels = drawn("correlated")
    both = torch.cat([labels, labels.roll(1, 1)])
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(2, features.shape[1] + 1, 5, generator=generator, dtype=torch.float64) / 5
    return Problem(features, both, 5, RIDGES), theta


def test_objective_and_gradient_are_those_of_autograd() -> None:
    """Mean cross-entropy, and a penalty on the weights that leaves the bias alone."""
    both, theta = two_problems()
    theta.requires_grad_()
    logits = both.x @ theta[:, :-1] + theta[:, -1:]
    losses = torch.stack([cross_entropy(z, y) for z, y in zip(logits, both.y, strict=True)])
    objective = losses + RIDGES / 2 * theta[:, :-1].square().sum((1, 2))
    (gradient,) = torch.autograd.grad(objective.sum(), theta)
    with torch.no_grad():
        torch.testing.assert_close(both.objective(theta), objective.detach())
        residual = both.residual(both.product(theta).softmax(1))
        torch.testing.assert_close(both.gradient(theta, residual), gradient)


def test_a_certificate_has_the_best_bias_and_bounds_the_optimum() -> None:
    """At any parameters: a better bias never raises the objective, and the gap reaches down to the optimum."""
    both, theta = two_problems()
    certificate = both.certify(theta)
    assert (certificate.objective < both.objective(theta)).all()
    assert torch.equal(certificate.theta[:, :-1], theta[:, :-1])
    shares = both.product(certificate.theta).softmax(1).mean(2)
    torch.testing.assert_close(shares, both.counts / both.n, rtol=0, atol=1e-12)
    for place, ridge in enumerate(RIDGES.tolist()):
        (best,) = fit_logistic(both.x, both.y[place : place + 1], 5, ridge, tolerance=1e-10)
        assert certificate.objective[place] - certificate.gap[place] <= best.objective + 1e-10
        assert certificate.objective[place] > best.objective


def test_certificates_are_updated_at_their_places() -> None:
    """The others stay."""
    both, theta = two_problems()
    at_zero, at_theta = both.certify(torch.zeros_like(theta)), both.certify(theta)
    second = both.part(torch.tensor([1])).certify(theta[1:])
    mixed = at_zero.updated(torch.tensor([1]), second)
    for name in ("theta", "objective", "gap", "gradient_norm"):
        assert torch.equal(getattr(mixed, name)[0], getattr(at_zero, name)[0])
        torch.testing.assert_close(getattr(mixed, name)[1], getattr(at_theta, name)[1])


def test_a_part_is_the_problem_alone() -> None:
    """With its own labels and ridge; all places are the problem itself; `double` keeps the features."""
    both, theta = two_problems()
    part = both.part(torch.tensor([1]))
    torch.testing.assert_close(part.objective(theta[1:]), both.objective(theta)[1:])
    assert both.part(torch.tensor([0, 1])) is both
    narrow = Problem(both.x.float(), both.y, 5, RIDGES)
    assert (narrow.dtype, narrow.ridge.dtype) == (torch.float32, torch.float32)
    assert (narrow.double().dtype, narrow.double().ridge.dtype) == (torch.float64, torch.float64)
    assert narrow.double().x is narrow.x


def test_the_preconditioner_sees_evenly_spaced_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """All where there are few; twice the features where these are more; few rows of very wide layers."""
    both, _ = two_problems()
    assert torch.equal(both.sample(), both.x)
    monkeypatch.setattr("stratoscope.probes.linear.problem.SAMPLE", 50)
    assert torch.equal(both.sample(), both.x[torch.arange(60) * 200 // 60])  # twice its 30 features
    assert sample_size(WIDE) == 2 * WIDE == SAMPLE
    assert sample_size(WIDE + 1) == WIDE_SAMPLE


@pytest.mark.unchecked
@pytest.mark.parametrize("ridge", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("name", ["correlated", "separable"])
def test_the_gap_of_unfinished_fits_is_the_best_between_the_labels_and_the_probabilities(
    name: str, ridge: float
) -> None:
    """Never below the distance to an optimum known to 1e-10, never above the bound of the probabilities themselves."""
    features, labels = drawn(name)
    (best,) = fit_logistic(features, labels, 5, ridge, tolerance=1e-10)
    ridges = torch.tensor([ridge], dtype=torch.float64)
    for steps in (0, 1, 3, 10):
        (fit,) = fit_logistic(features, labels, 5, ridge, tolerance=1e-12, max_iterations=steps)
        problem = Problem(features, labels, 5, ridges)
        plain = float(problem.certify(torch.cat([fit.weight, fit.bias[None]])[None]).gap)
        distance = fit.objective - best.objective
        assert distance - 1e-10 <= fit.gap <= plain * (1 + 1e-9) + 1e-13
        if name == "separable" and ridge == 1e-5 and steps < 10:  # where the other is thousands of times the distance
            assert plain > 100 * distance
            assert fit.gap < 3 * distance
        # by the definition of the dual, at points between: none of them is above the bound that was given by much
        _, objective, q = problem._feasible(torch.cat([fit.weight, fit.bias[None]])[None])
        own = torch.nn.functional.one_hot(labels, 5).mT.double()
        for t in (1.0, 0.3, 0.1, 0.01):
            between = own + t * (q - own)
            total = problem.moments(between - own).square().sum() / (2 * ridge)
            assert fit.gap <= float(objective + total - torch.special.entr(between).sum(1).mean()) + 1e-12
