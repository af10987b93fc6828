"""Tests of probes/linear/logistic.py; its parts are tested in test_problem.py and test_lbfgs.py."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from stratoscope.probes.linear.logistic import LogisticFit, fit_logistic
from tests.probes.linear.problems import PROBLEMS, problem, standardised

DTYPES = [torch.float32, torch.float64]
# `test_optimum_is_scikit_learns` checks the shapes at every call, for every kind of problem; it takes most of the time
unchecked = pytest.mark.unchecked


def _objective(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor, ridge: float) -> float:
    """P(W, b) of the module's docstring, in NumPy's float64."""
    w, b, x, y = (t.double().numpy() if t.is_floating_point() else t.numpy() for t in (weight, bias, features, labels))
    z = x @ w + b
    return float((logsumexp(z, axis=1) - z[np.arange(len(y)), y]).mean() + ridge / 2 * np.square(w).sum())


def _reference(features: Tensor, labels: Tensor, ridge: float) -> float:
    """The objective at scikit-learn's solution; its labels must be 0, 1, ... without a gap."""
    n, classes = len(labels), len(set(labels.tolist()))
    # With two classes scikit-learn penalises the difference of our two columns, which is half as much in ours.
    theirs = LogisticRegression(C=(2 if classes == 2 else 1) / (n * ridge), tol=1e-10, max_iter=20_000)
    with warnings.catch_warnings():
        # near the end of float64 its line search may find no lower value, and says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(features.double().numpy(), labels.numpy())
    weight, bias = torch.from_numpy(theirs.coef_.T), torch.from_numpy(theirs.intercept_)
    if classes == 2:
        weight, bias = torch.cat([-weight / 2, weight / 2], dim=1), torch.cat([-bias / 2, bias / 2])
    return _objective(weight, bias, features, labels, ridge)


def _start(fits: list[LogisticFit]) -> Tensor:
    return torch.stack([torch.cat([fit.weight, fit.bias[None]]) for fit in fits])


def _assert_sound(fit: LogisticFit, features: Tensor, labels: Tensor, ridge: float) -> None:
    """Finite, converged, and the objective is that of the weights."""
    assert fit.converged
    assert bool(fit.weight.isfinite().all())
    assert bool(fit.bias.isfinite().all())
    assert 0 <= fit.objective < np.inf
    assert abs(fit.gap) <= 1e-6
    assert fit.objective == pytest.approx(_objective(fit.weight, fit.bias, features, labels, ridge), abs=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridge", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_optimum_is_scikit_learns(name: str, ridge: float, dtype: torch.dtype) -> None:
    """The objective, by a formula of the test's own, is scikit-learn's to 1e-6 nats, and within the certified gap."""
    features, labels = problem(name, dtype)
    [fit] = fit_logistic(features, labels, int(labels.max()) + 1, ridge)
    ours, theirs = _objective(fit.weight, fit.bias, features, labels[0], ridge), _reference(features, labels[0], ridge)
    assert abs(ours - theirs) <= 1e-6
    assert ours - theirs <= fit.gap + 1e-9
    assert fit.gap <= 1e-6
    assert fit.converged
    assert fit.weight.dtype == fit.bias.dtype == dtype


@unchecked
@pytest.mark.parametrize("max_iterations", [1, 2, 5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gap_bounds_the_distance_to_the_optimum_of_unfinished_fits(name: str, max_iterations: int) -> None:
    """Stopped early, from zeros or from random weights, a fit says so and bounds what is missing to the optimum."""
    features, labels = problem(name, torch.float32)
    classes = int(labels.max()) + 1
    noise = torch.randn(1, features.shape[1] + 1, classes, generator=torch.Generator().manual_seed(1))
    for start in (None, noise):
        [fit] = fit_logistic(features, labels, classes, 1e-3, 1e-9, max_iterations=max_iterations, start=start)
        distance = _objective(fit.weight, fit.bias, features, labels[0], 1e-3) - _reference(features, labels[0], 1e-3)
        assert -1e-9 <= distance <= fit.gap + 1e-9
        assert fit.iterations <= max_iterations
        assert fit.converged == (fit.gap <= 1e-9)
    [fit] = fit_logistic(features, labels, classes, 1e-3, max_iterations=1)
    assert not fit.converged


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("max_iterations", [2, 1000])
@pytest.mark.parametrize("name", PROBLEMS)
def test_reported_objective_is_that_of_the_weights(name: str, max_iterations: int, dtype: torch.dtype) -> None:
    """`objective` equals the formula at the returned weights, finished or not, for every label set."""
    features, labels = problem(name, dtype)
    labels = torch.cat([labels, labels.flip(1)])
    for fit, own in zip(
        fit_logistic(features, labels, int(labels.max()) + 1, 1e-3, max_iterations=max_iterations), labels, strict=True
    ):
        assert fit.objective == pytest.approx(_objective(fit.weight, fit.bias, features, own, 1e-3), abs=1e-9)


@unchecked
@pytest.mark.parametrize("max_iterations", [1, 3, 1000])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_norm_is_autograds(name: str, max_iterations: int) -> None:
    """`gradient_norm` is the norm of autograd's gradient of P over weights and bias."""
    features, labels = problem(name)
    [fit] = fit_logistic(features, labels, int(labels.max()) + 1, 1e-3, max_iterations=max_iterations)
    weight, bias = fit.weight.clone().requires_grad_(), fit.bias.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(features @ weight + bias, labels[0])
    gradients = torch.autograd.grad(loss + 1e-3 / 2 * weight.square().sum(), (weight, bias))
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    assert fit.gradient_norm == pytest.approx(float(norm), rel=1e-6, abs=1e-12)


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
def test_label_sets_fitted_together_equal_each_fitted_alone(dtype: torch.dtype) -> None:
    """Three label sets of unlike difficulty in one call give the solutions of three calls, in their order."""
    features, _ = problem("correlated", dtype)
    generator = torch.Generator().manual_seed(3)
    random = torch.randint(4, (200,), generator=generator)
    labels = torch.stack([features[:, :4].argmax(1), random, torch.zeros(200, dtype=torch.long)])
    together = fit_logistic(features, labels, 4, 1e-2, tolerance=1e-11)
    for fit, own in zip(together, labels, strict=True):
        [alone] = fit_logistic(features, own[None], 4, 1e-2, tolerance=1e-11)
        assert fit.converged
        assert fit.objective == pytest.approx(alone.objective, abs=2e-11)
        torch.testing.assert_close(fit.weight, alone.weight, rtol=0, atol=1e-4)
        torch.testing.assert_close(
            fit.logits(features).softmax(1), alone.logits(features).softmax(1), rtol=0, atol=1e-4
        )


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_warm_start_from_the_solution_is_done_at_once(name: str, dtype: torch.dtype) -> None:
    """Started from its own solution a fit takes at most 2 iterations, and its objective does not change."""
    features, labels = problem(name, dtype)
    cold = fit_logistic(features, labels, int(labels.max()) + 1, 1e-3)
    warm = fit_logistic(features, labels, int(labels.max()) + 1, 1e-3, start=_start(cold))
    assert warm[0].iterations <= 2 < cold[0].iterations
    assert warm[0].objective == pytest.approx(cold[0].objective, abs=1e-6)
    assert warm[0].converged


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", ["large weights", "large bias"])
def test_start_far_away_ends_at_the_same_optimum(start: str, dtype: torch.dtype) -> None:
    """Weights or biases to start from that saturate the softmax change the optimum by no more than the tolerance."""
    features, labels = problem("correlated", dtype)
    theta = torch.zeros(1, 31, 5, dtype=dtype)
    if start == "large weights":
        theta[:, :-1] = 30 * torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    else:
        theta[:, -1] = torch.tensor([60.0, -60, 0, 0, 0])
    [cold], [far] = fit_logistic(features, labels, 5, 1e-3), fit_logistic(features, labels, 5, 1e-3, start=theta)
    assert far.converged
    assert far.objective == pytest.approx(cold.objective, abs=1e-6)


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-8, 1e-11])
def test_tolerance_is_met(tolerance: float, dtype: torch.dtype) -> None:
    """A converged fit's gap is at most the tolerance, beyond what float32 resolves too; a loose one costs less."""
    features, labels = problem("correlated", dtype)
    [fit] = fit_logistic(features, labels, 5, 1e-3, tolerance)
    assert fit.converged
    assert fit.gap <= tolerance
    [default] = fit_logistic(features, labels, 5, 1e-3)
    assert (fit.iterations > default.iterations) == (tolerance < 1e-6)


@unchecked
@pytest.mark.parametrize("max_iterations", [1, 1000])
@pytest.mark.parametrize("name", PROBLEMS)
def test_bias_is_the_best_for_the_weights(name: str, max_iterations: int) -> None:
    """Mean probabilities equal the class frequencies to float64's precision, also where the weights are unfinished."""
    features, labels = problem(name)
    classes = int(labels.max()) + 1
    [fit] = fit_logistic(features, labels, classes, 1e-3, max_iterations=max_iterations)
    frequencies = torch.bincount(labels[0], minlength=classes).double() / len(features)
    torch.testing.assert_close(fit.logits(features).softmax(1).mean(0), frequencies, rtol=0, atol=1e-12)


@unchecked
@pytest.mark.parametrize("name", PROBLEMS)
def test_bias_sums_to_zero(name: str) -> None:
    """Biases that differ by a constant mean the same: the one with sum 0 is returned, whatever the start."""
    features, labels = problem(name)
    classes = int(labels.max()) + 1
    start = torch.zeros(1, features.shape[1] + 1, classes).double()
    start[:, -1] = 5
    [fit] = fit_logistic(features, labels, classes, 1e-3, start=start)
    assert float(fit.bias.sum()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(fit.weight.sum(1), torch.zeros(features.shape[1]).double(), rtol=0, atol=1e-6)


def test_logits_are_affine() -> None:
    """`logits` is X W + b."""
    features, labels = problem("binary")
    [fit] = fit_logistic(features, labels, 2, 1e-3)
    expected = torch.stack([sum((x[i] * fit.weight[i] for i in range(5)), start=fit.bias) for x in features])
    torch.testing.assert_close(fit.logits(features), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_features_without_information_give_the_class_frequencies(dtype: torch.dtype) -> None:
    """On constant features the weights are 0, the objective is the labels' entropy, the softmax their frequencies."""
    labels = torch.tensor([[0] * 50 + [1] * 30 + [2] * 20])
    [fit] = fit_logistic(torch.zeros(100, 4, dtype=dtype), labels, 3, 1e-3, tolerance=1e-10)
    frequencies = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    _assert_sound(fit, torch.zeros(100, 4), labels[0], 1e-3)
    assert fit.objective == pytest.approx(float(torch.special.entr(frequencies).sum()), abs=1e-9)
    assert fit.weight.count_nonzero() == 0
    torch.testing.assert_close(fit.bias.softmax(0).double(), frequencies, rtol=0, atol=1e-4)


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("classes", "shift"), [(4, 0), (4, 1), (5, 1), (10, 4)])
@pytest.mark.parametrize("seed", [0, 18, 33])
def test_classes_without_samples_change_nothing(seed: int, classes: int, shift: int, dtype: torch.dtype) -> None:
    """Where classes are missing in the labels, the optimum is that of the classes there are."""
    generator = torch.Generator().manual_seed(seed)
    features = standardised(torch.randn(60, 6, generator=generator, dtype=torch.float64)).to(dtype)
    labels = torch.randint(3, (1, 60), generator=generator)
    [fit] = fit_logistic(features, labels + shift, classes, 1e-3)
    _assert_sound(fit, features, labels[0] + shift, 1e-3)
    assert abs(fit.objective - _reference(features, labels[0], 1e-3)) <= 1e-6


@unchecked
@pytest.mark.parametrize("classes", [4, 5, 10])
def test_bound_holds_where_classes_are_missing(classes: int) -> None:
    """The gap is not negative, but for rounding, where probabilities must be moved onto a class without samples."""
    generator = torch.Generator().manual_seed(0)
    features = standardised(torch.randn(60, 6, generator=generator, dtype=torch.float64))
    labels = torch.randint(3, (1, 60), generator=generator)
    [fit] = fit_logistic(features, labels, classes, 1e-3, tolerance=1e-12)
    assert -1e-14 <= fit.gap <= 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_class_is_certain(dtype: torch.dtype) -> None:
    """Labels of one class only have an objective of 0 nats, the infimum."""
    features, labels = problem("binary", dtype)
    [fit] = fit_logistic(features, 0 * labels + 1, 3, 1e-3)
    _assert_sound(fit, features, 0 * labels[0] + 1, 1e-3)
    assert fit.objective == pytest.approx(0, abs=1e-6)


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridge", [1e-3, 1e-6])
def test_constant_and_duplicate_columns_are_fitted(ridge: float, dtype: torch.dtype) -> None:
    """Zero columns and copies of columns give scikit-learn's optimum; zeros get no weight, copies share theirs."""
    features, labels = problem("binary", dtype)
    features = torch.cat([features, torch.zeros(100, 3, dtype=dtype), *[features] * 20], dim=1)
    [fit] = fit_logistic(features, labels, 2, ridge, tolerance=1e-11)
    _assert_sound(fit, features, labels[0], ridge)
    assert abs(fit.objective - _reference(features, labels[0], ridge)) <= 1e-6
    assert fit.weight[5:8].count_nonzero() == 0
    distance = (2 * 1e-11 / ridge) ** 0.5  # of the weights to the optimum's, as P curves by at least the ridge
    torch.testing.assert_close(fit.weight[8:13], fit.weight[:5], rtol=1e-5, atol=2 * distance)


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridge", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("n", [3, 40])
def test_more_features_than_samples_are_fitted(n: int, ridge: float, dtype: torch.dtype) -> None:
    """Random labels of few samples in many dimensions are separated to scikit-learn's optimum, at a weak ridge too."""
    generator = torch.Generator().manual_seed(0)
    features = standardised(torch.randn(n, 200, generator=generator, dtype=torch.float64)).to(dtype)
    labels = torch.arange(n)[None] % 3
    [fit] = fit_logistic(features, labels, 3, ridge)
    _assert_sound(fit, features, labels[0], ridge)
    assert abs(fit.objective - _reference(features, labels[0], ridge)) <= 1e-6
    assert torch.equal(fit.logits(features).argmax(1), labels[0])


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_one_feature_are_fitted_at_a_weak_ridge(dtype: torch.dtype) -> None:
    """200 copies of one feature, whose covariance has one large eigenvalue and rounding, do not break the solver."""
    features, labels = problem("binary", dtype)
    features = features[:, 4:].repeat(1, 200)
    [fit] = fit_logistic(features, labels, 2, 1e-6)
    _assert_sound(fit, features, labels[0], 1e-6)
    assert abs(fit.objective - _reference(features, labels[0], 1e-6)) <= 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_sample_is_fitted(dtype: torch.dtype) -> None:
    """One sample is classified as labelled; its objective is all but 0."""
    features = torch.tensor([[1.0, -1.0]], dtype=dtype)
    [fit] = fit_logistic(features, torch.tensor([[2]]), 3, 1e-3)
    _assert_sound(fit, features, torch.tensor([2]), 1e-3)
    assert int(fit.logits(features).argmax()) == 2


@pytest.mark.parametrize("ridge", [0.0, -1e-3, float("nan")])
def test_ridge_that_is_not_positive_is_refused(ridge: float) -> None:
    """A ridge of 0, below 0, or NaN is refused."""
    features, labels = problem("binary")
    with pytest.raises(ValueError, match=f"ridge must be above 0, got {ridge}"):
        fit_logistic(features, labels, 2, ridge)


@pytest.mark.parametrize(("low", "high", "classes"), [(-1, 1, 3), (0, 3, 3), (0, 7, 2)])
def test_labels_out_of_range_are_refused(low: int, high: int, classes: int) -> None:
    """Labels below 0 or above the last class are refused, naming the range found, in any label set."""
    features, good = problem("binary")
    bad = good.clone()
    bad[0, 5], bad[0, 6] = low, high
    with pytest.raises(ValueError, match=rf"labels must be in \[0, {classes}\), got {low} to {high}"):
        fit_logistic(features, torch.cat([good, bad]), classes, 1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    """NaN and infinity in the features are refused."""
    features, labels = problem("binary")
    features[7, 2] = value
    with pytest.raises(ValueError, match="features contain NaN or infinity"):
        fit_logistic(features, labels, 2, 1e-3)


@pytest.mark.parametrize(("n", "d"), [(0, 5), (5, 0)])
def test_empty_features_are_refused(n: int, d: int) -> None:
    """No samples, or no features, are refused, naming the shape."""
    with pytest.raises(ValueError, match=rf"features are empty: shape \({n}, {d}\)"):
        fit_logistic(torch.zeros(n, d), torch.zeros(1, n, dtype=torch.long), 2, 1e-3)


@unchecked
@pytest.mark.parametrize("seed", [*range(15), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(15, 200))])
def test_random_problems_are_solved(seed: int) -> None:
    """In float64, within 1e-8 of scikit-learn's optimum: samples, widths, classes, ridges and scales at random."""
    generator = np.random.default_rng(seed)
    n, d, classes = int(generator.integers(20, 120)), int(generator.integers(1, 25)), int(generator.integers(2, 6))
    ridge = float(10 ** generator.uniform(-4, 0))
    x = generator.normal(size=(n, d)) * 10 ** generator.uniform(-1, 1, size=d)
    x -= x.mean(0)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    (fit,) = fit_logistic(torch.from_numpy(x), torch.from_numpy(y)[None], classes, ridge, tolerance=1e-8)
    assert fit.converged
    assert 0 <= fit.gap + 1e-12
    strength = 1 / (n * ridge) if classes > 2 else 2 / (n * ridge)  # of two classes it fits one column, w = w_2 - w_1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        oracle = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(x, y)
    weight, bias = oracle.coef_.T, oracle.intercept_
    if classes == 2:
        weight, bias = np.hstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
    logits = x @ weight + bias
    theirs = (logsumexp(logits, axis=1) - logits[np.arange(n), y]).mean() + ridge / 2 * (weight**2).sum()
    assert abs(fit.objective - theirs) <= 2e-8
    margins = np.sort(logits, axis=1)
    clear = margins[:, -1] - margins[:, -2] > 1e-2
    ours = fit.logits(torch.from_numpy(x)).argmax(1).numpy()
    assert (ours == logits.argmax(1))[clear].all()


@unchecked
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_separable_classes_are_fitted_at_a_weak_ridge(dtype: torch.dtype) -> None:
    """Classes far apart have an optimum, with large weights, and it is found and certified."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (400,), generator=generator)
    x = torch.randn(400, 10, generator=generator, dtype=torch.float64).add_(8 * torch.eye(4, 10)[y])
    x = ((x - x.mean(0)) / x.std(0)).to(dtype)
    (fit,) = fit_logistic(x, y[None], 4, 1e-6)
    assert fit.converged
    assert fit.gap <= 1e-6
    assert bool((fit.logits(x).argmax(1) == y).all())
    assert fit.objective < 1e-3


@pytest.mark.parametrize("n", [2, 3, 9])
def test_fewer_samples_than_classes_are_fitted(n: int) -> None:
    """Each sample its own class, of ten: fitted and certified, with finite weights."""
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(n))
    (fit,) = fit_logistic(x - x.mean(0), torch.arange(n)[None], 10, 1e-3)
    assert fit.converged
    assert bool(torch.isfinite(fit.weight).all())
    assert bool(torch.isfinite(fit.bias).all())


@unchecked
@pytest.mark.parametrize("ridge", [1e-1, 1e-3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_order_of_the_samples_does_not_matter(name: str, ridge: float) -> None:
    """In float64 the objective is the same to 1e-12, and the weights to what the gaps of the two fits allow."""
    features, labels = problem(name)
    classes, tolerance = int(labels.max()) + 1, 1e-13
    [plain] = fit_logistic(features, labels, classes, ridge, tolerance)
    for seed in range(3):
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        [other] = fit_logistic(features[order], labels[:, order], classes, ridge, tolerance)
        assert plain.converged
        assert other.converged
        assert other.objective == pytest.approx(plain.objective, rel=1e-12, abs=0)
        # P is strongly convex in W: ridge/2 |W - best|^2 is at most the gap, which is itself known to some 1e-15
        allowed = 2 * (2 * (tolerance + 1e-15) / ridge) ** 0.5
        assert float((plain.weight - other.weight).norm()) <= allowed
