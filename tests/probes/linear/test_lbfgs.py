"""Tests of probes/linear/lbfgs.py; fits to the optimum are in test_logistic.py."""

import pytest
import torch

from stratoscope.probes.giving_up import given_up_by
from stratoscope.probes.linear import lbfgs
from stratoscope.probes.linear.problem import Problem
from tests.probes.linear.problems import problem as drawn


def test_the_estimate_of_whole_matrices_is_that_of_two_loops() -> None:
    """Also where a pair has no curvature, and before there is any."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k, e, c = 3, 21, 4
    inverse = draw(k, e - 1, e - 1)
    inverse = inverse @ inverse.mT + torch.eye(e - 1)
    hessian = draw(e * c, e * c)
    hessian = hessian @ hessian.T / 50 + torch.eye(e * c)
    curvature = draw(k).abs() + 0.1
    history: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for pair in range(13):
        gradient = draw(k, e, c)
        estimates = [
            estimate(gradient, history, lambda rows: inverse @ rows, curvature)
            for estimate in (lbfgs._two_loop, lbfgs._compact)
        ]
        torch.testing.assert_close(*estimates, rtol=1e-11, atol=1e-11)
        s = draw(k, e, c)
        y = (s.flatten(1) @ hessian).view_as(s)
        if pair == 2:
            y[1] = -y[1]
        products = (s * y).sum((1, 2))
        history.append((s, y, torch.where(products > 0, 1 / products, 0.0)))


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_the_inverse_preconditions_as_its_factor_does(shape: tuple[int, int]) -> None:
    """With fewer and with more features than rows, before and after some problems are solved."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(*shape, generator=generator, dtype=torch.float64)
    gradient = torch.randn(3, shape[1], 5, generator=generator, dtype=torch.float64)
    found = []
    for substitutes in (True, False):
        precondition = lbfgs._Preconditioner(sample)
        precondition.substitutes = substitutes
        precondition.factorise(torch.tensor([0.1, 0.2, 0.05]).double(), torch.tensor([1e-3, 1e-2, 1e-1]).double())
        whole = precondition(gradient)
        precondition.keep(torch.tensor([0, 2]))
        torch.testing.assert_close(precondition(gradient[[0, 2]]), whole[[0, 2]])
        found.append(whole)
    torch.testing.assert_close(*found)


def three_problems() -> Problem:
    """Of the same features: a strong ridge, a weak one, and one that the zeros solve."""
    features, labels = drawn("correlated")
    ridges = torch.tensor([1e-1, 1e-4, 1e6], dtype=torch.float64)
    return Problem(features, labels.expand(3, -1).contiguous(), 5, ridges)


def gradient_norms(problem: Problem, theta: torch.Tensor) -> torch.Tensor:
    """Of the objective."""
    gradient = problem.gradient(theta, problem.residual(problem.product(theta).softmax(1)))
    norms: torch.Tensor = gradient.flatten(1).norm(dim=1)
    return norms


def test_every_problem_ends_at_its_own_target() -> None:
    """Each as soon as it is solved, however long others take; one that is solved already stays, at no cost."""
    problem = three_problems()
    theta = torch.zeros(3, problem.x.shape[1] + 1, 5, dtype=torch.float64)
    target = torch.tensor([1e-8, 1e-8, 10.0], dtype=torch.float64)
    found, spent = lbfgs.lbfgs(problem, theta, target, 500)
    assert (gradient_norms(problem, found) <= target * (1 + 1e-6)).all()
    assert 0 == spent[2] < spent[0] < spent[1] < 500
    assert torch.equal(found[2], theta[2])
    assert not theta.any()  # it is left as it was
    alone, spent_alone = lbfgs.lbfgs(problem.part(torch.tensor([0])), theta[:1], target[:1], 500)
    assert spent_alone.tolist() == spent[:1].tolist()
    torch.testing.assert_close(found[:1], alone, rtol=1e-6, atol=1e-8)


def test_iterations_are_bounded_and_each_brings_it_nearer() -> None:
    """What was reached is returned."""
    problem = three_problems().part(torch.tensor([1]))
    theta, zero = torch.zeros(1, problem.x.shape[1] + 1, 5, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    objectives = [float(problem.objective(theta))]
    for most in (1, 3, 9):
        found, spent = lbfgs.lbfgs(problem, theta, zero, most)
        assert spent.tolist() == [most]
        objectives.append(float(problem.objective(found)))
    assert objectives == sorted(objectives, reverse=True)
    assert len(set(objectives)) == 4


def test_a_direction_without_descent_gets_no_step() -> None:
    """Upwards there is nothing to find; downwards the slope all but vanishes."""
    problem = three_problems().part(torch.tensor([0]))
    theta = torch.zeros(1, problem.x.shape[1] + 1, 5, dtype=torch.float64)
    logits = problem.product(theta)
    residual = problem.residual(logits.softmax(1))
    gradient = problem.gradient(theta, residual)
    for sign, falls in ((1, False), (-1, True)):
        change = problem.product(sign * gradient)
        step, p = lbfgs._line_search(problem, theta, sign * gradient, logits, change, residual)
        assert bool(step > 0) is falls
        torch.testing.assert_close(p, (logits + step[:, None, None] * change).softmax(1))
        if falls:
            after = problem.gradient(theta - step * gradient, problem.residual(p))
            assert abs(float((after * gradient).sum())) <= 0.3 * float(gradient.square().sum()) * (1 + 1e-9)


def test_it_asks_whether_to_go_on_at_every_iteration() -> None:
    """And ends where it is told to."""
    asked: list[bool] = []

    def enough(together: bool) -> None:
        asked.append(together)
        if len(asked) == 3:
            raise InterruptedError

    problem = three_problems()
    theta, zero = torch.zeros(3, problem.x.shape[1] + 1, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    given_up_by(enough)
    try:
        with pytest.raises(InterruptedError):
            lbfgs.lbfgs(problem, theta, zero, 500)
    finally:
        given_up_by(None)
    assert asked == [False] * 3  # processes fit layers of their own: they do not ask together
