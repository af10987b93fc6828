"""Tests of probes/linear/ridge_regression.py."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from stratoscope.probes.linear import ridge_regression
from stratoscope.probes.linear.ridge_regression import RidgeFit, best_left_out, fit_ridge

RIDGES = [1e-6, 1e-3, 0.1, 10.0]
PROBLEMS = ["tall", "square", "wide", "duplicates", "constant", "offset", "many rows"]
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _problem(name: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Features (n, d) and two label sets (2, n) of four classes, one that depends on the features and a random one."""
    generator = torch.Generator().manual_seed(0)
    n, d = {"square": (30, 30), "wide": (25, 90), "many rows": (700, 9)}.get(name, (120, 15))
    features = torch.randn(n, d, generator=generator, dtype=torch.float64)
    true = (features[:, :4] + 0.5 * torch.randn(n, 4, generator=generator, dtype=torch.float64)).argmax(1)
    given = torch.randint(4, (n,), generator=generator)
    if name == "duplicates":
        features[:, 5:10] = features[:, :5]
    elif name == "constant":
        features[:, [0, 7]] = 0
    features = features - features.mean(0)
    if name == "offset":
        features += torch.linspace(-5, 5, d, dtype=torch.float64)
    return features.to(dtype), torch.stack([true, given])


def _theirs(features: Tensor, labels: Tensor, strength: float) -> tuple[Array, Array]:
    """Weights (d, 4) and bias by scikit-learn, which penalises the sum: strength is n times our ridge."""
    x, y = features.double().numpy(), np.eye(4)[labels.numpy()]
    fitted = Ridge(alpha=strength, solver="svd", tol=1e-12).fit(x, y)
    return fitted.coef_.T, fitted.intercept_


def _fits(features: Tensor, labels: Tensor) -> list[RidgeFit]:
    return [fit for path in fit_ridge(features, labels, 4, RIDGES) for fit in path]


def _residual(fit: RidgeFit, features: Tensor, labels: Tensor) -> Array:
    ours: Array = (fit.logits(features).double() - torch.eye(4).double()[labels]).numpy()
    return ours


@pytest.mark.parametrize("name", PROBLEMS)
def test_path_is_scikit_learns(name: str) -> None:
    """Every label set's weights and bias at every ridge are those of a fit of its own by scikit-learn."""
    features, labels = _problem(name)
    paths = fit_ridge(features, labels, 4, RIDGES)
    assert [len(path) for path in paths] == [4, 4]
    for path, label in zip(paths, labels, strict=True):
        for fit, ridge in zip(path, RIDGES, strict=True):
            weight, bias = _theirs(features, label, len(features) * ridge)
            assert fit.ridge == ridge
            np.testing.assert_allclose(fit.weight.numpy(), weight, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(fit.bias.numpy(), bias, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_ridge_0_is_the_solution_of_smallest_norm(name: str) -> None:
    """Without a penalty the weights are NumPy's minimum-norm least-squares solution on centred features."""
    features, labels = _problem(name)
    centred = (features - features.mean(0)).numpy()
    for [fit], label in zip(fit_ridge(features, labels, 4, [0.0]), labels, strict=True):
        targets = np.eye(4)[label.numpy()]
        weight = np.linalg.lstsq(centred, targets - targets.mean(0), rcond=1e-7)[0]
        np.testing.assert_allclose(fit.weight.numpy(), weight, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", PROBLEMS)
def test_small_ridges_lead_to_ridge_0(name: str) -> None:
    """The weights tend to those of ridge 0, the nearer the smaller the ridge, until rounding: some eps s_1 / ridge."""
    features, labels = _problem(name)
    ridges = [0.0, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-15, 1e-18]
    [path, _] = fit_ridge(features, labels, 4, ridges)
    distances = [float((fit.weight - path[0].weight).norm() / path[0].weight.norm()) for fit in path[1:]]
    assert distances[0] > distances[1] > distances[2]
    assert max(distances[3:5]) < 1e-4
    assert max(distances[5:]) < 1e-9
    norms = [float(fit.weight.norm()) for fit in path[1:]]
    assert norms[0] < norms[1] < norms[2]


@pytest.mark.parametrize("name", PROBLEMS)
def test_objective_is_that_of_the_weights(name: str) -> None:
    """The objective is half the mean squared residual and the penalty, and at its minimum: its gradient is zero."""
    features, labels = _problem(name)
    centred = (features - features.mean(0)).numpy()
    for path, label in zip(fit_ridge(features, labels, 4, RIDGES), labels, strict=True):
        for fit in path:
            residual, weight = _residual(fit, features, label), fit.weight.numpy()
            objective = np.square(residual).sum() / (2 * len(label)) + fit.ridge / 2 * np.square(weight).sum()
            assert fit.objective == pytest.approx(objective, rel=1e-10, abs=1e-14)
            np.testing.assert_allclose(centred.T @ residual / len(label), -fit.ridge * weight, atol=1e-12)
            np.testing.assert_allclose(residual.mean(0), 0, atol=1e-12)


def test_bias_of_centred_features_is_the_class_shares() -> None:
    """With features of mean 0 the bias is how often each class occurs, whatever the ridge."""
    features, labels = _problem("tall")
    for path, label in zip(fit_ridge(features, labels, 4, RIDGES), labels, strict=True):
        shares = torch.bincount(label, minlength=4).double() / len(label)
        for fit in path:
            torch.testing.assert_close(fit.bias, shares)


@pytest.mark.parametrize("ridge", [1e-3, pytest.param(0.1, marks=pytest.mark.slow), 10.0])
@pytest.mark.parametrize("name", ["tall", "square", "wide", "duplicates", "constant", "offset"])
def test_left_out_error_is_that_of_fits_without_each_sample(name: str, ridge: float) -> None:
    """Error and accuracy are those of n fits by scikit-learn, each without one sample."""
    features, labels = _problem(name)
    n = len(features)
    for [fit], label in zip(fit_ridge(features, labels, 4, [ridge]), labels, strict=True):
        errors, correct = [], []
        for i in range(n):
            others = torch.arange(n) != i
            weight, bias = _theirs(features[others], label[others], n * ridge)
            predicted = features[i].numpy() @ weight + bias
            errors.append(np.square(predicted - np.eye(4)[int(label[i])]).sum() / 2)
            correct.append(predicted.argmax() == int(label[i]))
        assert fit.left_out_error == pytest.approx(float(np.mean(errors)), rel=1e-6)
        assert fit.left_out_accuracy == pytest.approx(float(np.mean(correct)))


def test_left_out_error_is_unknown_where_the_fit_interpolates() -> None:
    """With ridge 0 and more features than samples there is no left-out error; with ridge there is."""
    features, labels = _problem("wide")
    [[interpolating, penalised], _] = fit_ridge(features, labels, 4, [0.0, 0.1])
    assert interpolating.left_out_error is None
    assert interpolating.left_out_accuracy is None
    assert interpolating.objective < 1e-20
    assert penalised.left_out_error is not None
    assert penalised.left_out_accuracy is not None


def test_left_out_error_chooses_a_ridge() -> None:
    """For labels that depend on few of many features the choice lies inside the path and does best on new samples."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2080, 60, generator=generator, dtype=torch.float64)
    labels = (features[:, :3] + 0.7 * torch.randn(2080, 3, generator=generator, dtype=torch.float64)).argmax(1)
    [path] = fit_ridge(features[:80], labels[None, :80], 3, [0.0, 1e-3, 0.03, 0.3, 3.0, 100.0])
    errors = [float((fit.logits(features[80:]) - torch.eye(3)[labels[80:]]).square().sum(1).mean()) for fit in path]
    chosen = best_left_out(path)
    assert 0 < chosen.ridge < 100
    assert errors[path.index(chosen)] <= 1.05 * min(errors)
    assert chosen.left_out_error == pytest.approx(errors[path.index(chosen)] / 2, rel=0.1)


def test_choice_without_a_left_out_error_is_the_largest_ridge() -> None:
    """A fit without left-out error is chosen only if there is no other."""
    features, labels = _problem("wide")
    [path, _] = fit_ridge(features, labels, 4, [0.0, 1e-15, 10.0])
    assert best_left_out(path).ridge == 10.0
    assert best_left_out(path[:2]).ridge == 1e-15
    assert best_left_out(path[:1]).ridge == 0.0


@pytest.mark.parametrize("name", PROBLEMS)
def test_blocks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few rows or columns at a time the result is the same."""
    features, labels = _problem(name)
    whole = _fits(features, labels)
    monkeypatch.setattr(ridge_regression, "ENTRIES", 100)
    for ours, theirs in zip(_fits(features, labels), whole, strict=True):
        torch.testing.assert_close(ours.weight, theirs.weight)
        torch.testing.assert_close(ours.bias, theirs.bias)
        assert ours.objective == pytest.approx(theirs.objective)
        assert ours.left_out_error == pytest.approx(theirs.left_out_error)
        assert ours.left_out_accuracy == theirs.left_out_accuracy


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", ["tall", "wide", "duplicates"])
def test_narrow_types_are_solved_in_float64(name: str, dtype: torch.dtype) -> None:
    """Features in 16 or 32 bits give, in float32, the weights that the same numbers give in float64."""
    features, labels = _problem(name, dtype)
    for ours, theirs in zip(_fits(features, labels), _fits(features.double(), labels), strict=True):
        assert ours.weight.dtype == ours.bias.dtype == torch.float32
        torch.testing.assert_close(ours.weight, theirs.weight.float())
        assert ours.objective == pytest.approx(theirs.objective)


def test_more_features_than_samples_make_no_matrix_of_features() -> None:
    """60,000 features of 40 samples, whose Gram matrix would take 29 GB, are fitted, and interpolated with ridge 0."""
    features = torch.randn(40, 60_000, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40)[None] % 4
    [[fit]] = fit_ridge(features, labels, 4, [0.0])
    assert np.abs(_residual(fit, features, labels[0])).max() < 1e-4


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_features_without_information_give_the_class_shares(ridge: float) -> None:
    """All features constant, or a single sample: weights are 0, the bias is the class shares."""
    for features, labels in ((torch.full((10, 3), 0.5), torch.arange(10) % 4), (torch.ones(1, 3), torch.tensor([2]))):
        [[fit]] = fit_ridge(features, labels[None], 4, [ridge])
        assert fit.weight.count_nonzero() == 0
        torch.testing.assert_close(fit.bias, torch.bincount(labels, minlength=4) / len(labels))


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_missing_class_has_no_weights(ridge: float) -> None:
    """A class that never occurs is predicted with 0 everywhere."""
    features, labels = _problem("tall")
    [[fit], _] = fit_ridge(features, labels, 6, [ridge])
    assert fit.weight[:, 4:].abs().max() < 1e-14
    assert fit.bias[4:].abs().max() < 1e-14


@pytest.mark.parametrize("ridges", [[], [-1e-3], [0.1, float("nan")], [float("inf")]])
def test_impossible_ridges_are_refused(ridges: list[float]) -> None:
    """No ridge, and one that is negative or not finite, are refused, naming them."""
    features, labels = _problem("tall")
    with pytest.raises(ValueError, match="ridges must be one or more finite numbers from 0, got"):
        fit_ridge(features, labels, 4, ridges)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    """A single NaN or infinity is refused."""
    features, labels = _problem("tall")
    features[17, 3] = value
    with pytest.raises(ValueError, match="features contain NaN or infinity"):
        fit_ridge(features, labels, 4, RIDGES)


@pytest.mark.parametrize("label", [-1, 4])
def test_labels_out_of_range_are_refused(label: int) -> None:
    """A label that is no class is refused, naming the range found."""
    features, labels = _problem("tall")
    labels[1, 5] = label
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\), got"):
        fit_ridge(features, labels, 4, RIDGES)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_fit_is_refused(shape: tuple[int, int]) -> None:
    """No samples and no features are refused, naming the shape."""
    with pytest.raises(ValueError, match=r"features are empty: shape \("):
        fit_ridge(torch.zeros(shape), torch.zeros(1, shape[0], dtype=torch.long), 4, RIDGES)
