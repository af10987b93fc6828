"""Ridge regression on one-hot labels in closed form: every ridge strength and label set from one factorisation.

The least-squares probe W'x + b, one column per class, minimises

    P(W, b) = 1/(2n) sum_i |W'x_i + b - e_{y_i}|^2 + ridge/2 |W|^2.

*Method* (Hastie, Tibshirani & Friedman 2009, section 3.4.1). With features of mean 0 the best bias is the class shares,
and W solves (G + ridge I) W = X'Y/n with G = X'X/n, for every ridge from one eigendecomposition G = V diag(s) V':

    W = V diag(1/(s + ridge)) V'X'Y/n.

With more features than rows the same comes from the smaller matrix K = XX'/n = U diag(s) U' (the dual):

    W = X'U diag(1/(s + ridge)) U'Y/n.

*Ridge 0.* Directions with s + ridge <= max(n, d) eps s_1 (eps = 2.2e-16, that of float64; s_1 the largest eigenvalue)
are left out, which gives the solution of smallest norm among all least-squares solutions. Singular values of X, the
roots of s, so count as zero below some 1e-7 to 1e-5 of the largest. Just above the cut-off rounding shows: weights are
right to some eps s_1 / ridge.

*Leaving one out.* Without sample i, but with the same penalty n ridge/2 |W|^2 on the sum, the fit misses e_{y_i} by its
residual over 1 - h_i, where h is the diagonal of the hat matrix (Golub, Heath & Wahba 1979; exact, with the bias):

    h_i = 1/n + 1/n sum_j (v_j'x_i)^2 / (s_j + ridge) = 1/n + sum_j u_ij^2 s_j / (s_j + ridge).

All in float64. Time: n d^2 for G and again for h; memory: some four float64 matrices of the smaller of n and d.

Axes: k label sets, q ridges, n rows, d features, c classes, r = min(n, d) directions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from stratoscope.probes.checks import check_labels
from stratoscope.probes.reading.centring import Centred

ENTRIES = 2**22  # of the features turned into float64 at a time (32 MiB)
EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class RidgeFit:
    """A least-squares classifier for one label set and ridge strength.

    Attributes:
        ridge: Strength of the penalty.
        weight: W, in the coordinates of the features it was fitted on.
        bias: b.
        objective: P(W, b).
        left_out_error: Half the mean squared distance of the prediction for a sample that was left out to its one-hot
            label; None where a sample alone decides its own prediction (1 - h_i < 1.5e-8, as when the fit interpolates
            with ridge 0), so that the fit says nothing about the one without it.
        left_out_accuracy: Share of samples classified correctly by the fit without them; None likewise.
    """

    ridge: float
    weight: Float[Tensor, "d c"]
    bias: Float[Tensor, " c"]
    objective: float
    left_out_error: float | None
    left_out_accuracy: float | None

    def logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return W'x + b for every row: the larger, the likelier, but no logarithms of probabilities."""
        return features @ self.weight + self.bias


def fit_ridge(
    features: Float[Tensor, "n d"], labels: Int[Tensor, "k n"], classes: int, ridges: Sequence[float]
) -> list[list[RidgeFit]]:
    """Fit one ridge regression on one-hot labels per label set and ridge, all from one factorisation.

    Args:
        features: Features, best standardised (see `Standardisation`) so that one ridge means the same in every layer.
            Their mean, zero or not, is taken out in float64.
        labels: k label sets for the same n rows, each in [0, classes).
        classes: Number of classes c.
        ridges: Strengths of the penalty ridge/2 |W|^2 on the weights, not the bias; 0 gives the solution of smallest
            norm.

    Returns:
        By label set, in their order, the path: one fit per ridge, in their order.

    Raises:
        ValueError: If there is no ridge or one is negative, a label is out of range, or the features are empty or not
            finite.
    """
    if not ridges or not all(ridge >= 0 and isfinite(ridge) for ridge in ridges):
        raise ValueError(f"ridges must be one or more finite numbers from 0, got {list(ridges)}")
    centred = Centred.of(features)
    check_labels(labels, classes)
    data = _Problem(centred, labels.long(), classes, len(ridges))
    n, d = features.shape
    spectrum = _dual(data) if d > n else _primal(data)
    s = spectrum.eigenvalues.clamp(min=0)
    shifted = s[:, None] + torch.tensor(list(ridges), dtype=s.dtype, device=s.device)
    inverse = torch.where(shifted > max(n, d) * EPS * s.max(), 1 / shifted, 0.0)  # r q
    weight = spectrum.weight((inverse[..., None] * spectrum.targets[:, None]).flatten(1))
    weight = weight.view(d, len(ridges), len(labels), classes)
    loss, error, correct = _leave_one_out(data, spectrum, inverse, weight)
    objective = loss + shifted.new_tensor(ridges)[:, None] / 2 * weight.square().sum((0, 3))
    kept = features.dtype if features.dtype == torch.float64 else torch.float32
    bias = data.shares.view(len(labels), classes) - torch.einsum("d,dqkc->qkc", data.x.mean, weight)
    return [
        [
            RidgeFit(
                ridge=float(ridge),
                weight=weight[:, q, k].to(kept, memory_format=torch.contiguous_format, copy=True),
                bias=bias[q, k].to(kept, copy=True),
                objective=float(objective[q, k]),
                left_out_error=float(error[q, k]) if isfinite(error[q, k]) else None,
                left_out_accuracy=float(correct[q, k] / n) if isfinite(error[q, k]) else None,
            )
            for q, ridge in enumerate(ridges)
        ]
        for k in range(len(labels))
    ]


def best_left_out(path: Sequence[RidgeFit]) -> RidgeFit:
    """The fit with the smallest left-out error of a path: a ridge chosen without a held-out set.

    Args:
        path: Fits of one label set.

    Returns:
        One of them; of equals, or of those without a left-out error if there are no others, the largest ridge.
    """
    infinite = float("inf")
    return min(path, key=lambda fit: (infinite if fit.left_out_error is None else fit.left_out_error, -fit.ridge))


class _Problem:
    """The features without their mean, and the one-hot labels without theirs, some rows at a time."""

    def __init__(self, features: Centred, labels: Tensor, classes: int, ridges: int) -> None:
        self.x, self.y, self.classes = features, labels, classes
        self.n, self.d = features.features.shape
        # predictions may be wider than the features
        self.size = max(1, ENTRIES // max(self.d, len(labels) * classes * ridges))
        counts = torch.stack([torch.bincount(y, minlength=classes) for y in labels])
        self.shares = counts.double().flatten() / self.n  # kc

    def rows(self) -> Iterator[tuple[slice, Float[Tensor, "b d"]]]:
        """Where some rows are, and their features."""
        starts = range(0, self.n, self.size)
        return zip((slice(start, start + self.size) for start in starts), self.x.rows(self.size), strict=True)

    def targets(self, place: slice) -> Float[Tensor, "b kc"]:
        """The labels of some rows."""
        return one_hot(self.y[:, place].T, self.classes).flatten(1).double() - self.shares


@dataclass(frozen=True)
class _Spectrum:
    """What the two ways have in common: W = weight(diag(1/(s + ridge)) targets) and h = 1/n + leverage (1/(s + ridge)).

    Attributes:
        eigenvalues: s.
        targets: X'Y/n or Y/n in the basis of eigenvectors.
        weight: Takes coordinates in that basis (r, m) to weights (d, m).
        leverage: Each direction's part in the leverage of some rows, given as slice and centred features.
    """

    eigenvalues: Float[Tensor, " r"]
    targets: Float[Tensor, "r kc"]
    weight: Callable[[Tensor], Tensor]
    leverage: Callable[[slice, Tensor], Tensor]


def _primal(data: _Problem) -> _Spectrum:
    gram = data.shares.new_zeros(data.d, data.d)
    moments = data.shares.new_zeros(data.d, len(data.shares))
    for place, x in data.rows():
        gram.addmm_(x.T, x)
        moments.addmm_(x.T, data.targets(place))
    s, v = torch.linalg.eigh(gram.div_(data.n))
    return _Spectrum(s, v.T @ moments / data.n, lambda f: v @ f, lambda _, x: (x @ v).square_().div_(data.n))


def _dual(data: _Problem) -> _Spectrum:
    s, u = torch.linalg.eigh(data.x.gram().div_(data.n))

    def weight(f: Tensor) -> Tensor:
        return torch.cat([x.T @ (u @ f) for x in data.x.columns()])

    targets = u.T @ data.targets(slice(None)) / data.n
    return _Spectrum(s, targets, weight, lambda place, _: u[place].square() * s.clamp(min=0))


def _leave_one_out(
    data: _Problem, spectrum: _Spectrum, inverse: Float[Tensor, "r q"], weight: Float[Tensor, "d q k c"]
) -> tuple[Float[Tensor, "q k"], Float[Tensor, "q k"], Int[Tensor, "q k"]]:
    """Half the mean squared error of the fits; of those without each sample (inf: unknown), and how many are right."""
    shape = weight.shape[1:]
    loss, error = weight.new_zeros(shape[:2]), weight.new_zeros(shape[:2])
    correct = torch.zeros(shape[:2], dtype=torch.long, device=weight.device)
    for place, x in data.rows():
        targets = data.targets(place).view(-1, 1, *shape[1:])  # b 1 k c
        residual = targets - (x @ weight.flatten(1)).view(-1, *shape)
        loss += residual.square().sum((0, 3))
        freedom = 1 - 1 / data.n - spectrum.leverage(place, x) @ inverse  # b q
        left_out = residual / torch.where(freedom > sqrt(EPS), freedom, torch.nan)[..., None, None]
        error += left_out.square().sum((0, 3))
        # class scores: the prediction W'x + b of the fit without the sample
        predicted = (targets - left_out + data.shares.view(shape[1:])).argmax(3)  # b q k
        correct += (predicted == data.y[:, place].T[:, None]).sum(0)
    error = torch.where(error.isnan(), torch.inf, error)
    return loss / (2 * data.n), error / (2 * data.n), correct
