"""Multinomial logistic regression at its optimum, with a certificate.

The linear probe of Alain & Bengio (2016, section 3.1) is softmax(W'x + b) trained by cross-entropy on frozen features.
With an L2 penalty on W the problem is convex and has one answer (up to a constant in b, which is centred):

    P(W, b) = 1/n sum_i [ logsumexp(z_i) - z_i[y_i] ] + ridge/2 |W|^2,    z_i = W'x_i + b.

*Method.* L-BFGS whose initial inverse Hessian is (h XX + ridge I)^-1, with h the mean of p(1 - p) and XX the Gram
matrix X'X/m of a sample of m rows: close to the true inverse Hessian, so some tens of iterations suffice where the
plain method takes hundreds. The logits are linear in the weights, so a line search along D costs nothing but
element-wise work once X'D is known: every iteration reads the features twice, whatever the number of trial steps. All
problems, one per label set and ridge strength, share these reads; one that is solved leaves them.

*Certificate.* The dual of P (Fenchel; for the binary case see Yu, Huang & Lin 2011, eq. 3) is, over rows q_i in the
simplex whose column sums are the class counts,

    D(q) = 1/n sum_i entropy(q_i) - 1/(2 ridge) |1/n sum_i x_i (q_i - e_{y_i})'|^2   <=   min P.

The fitted probabilities give such a q once the bias is the best for W (a Newton iteration in c numbers) and what is
left is moved onto the class counts; P(W, b) - D(q) then bounds the distance to the optimum, whatever the solver did. It
is computed in float64. A fit ends when it is small enough, and says so when it is not.

Far from the optimum that bound is 90 to 1,000 times the distance or more, as |.|^2 / (2 ridge) is huge at a q that is
not nearly optimal. So a fit that ends unconverged gets the best bound on the way from the labels, which are such a q
themselves with D = 0, to the fitted probabilities: with a_i = 1 - q_i[y_i], S_i = sum_j q_ij log q_ij over j != y_i and
M = |1/n sum_i x_i (q_i - e_{y_i})'|^2 / (2 ridge), at e_y + t (q - e_y)

    D(t) = -1/n sum_i [ t a_i log t + t S_i + (1 - t a_i) log(1 - t a_i) ] - t^2 M,    t in [0, 1],

whose maximum is found from the a_i alone, without another look at the features.

Axes: k problems, n rows, d features, e = d + 1 with the bias last, c classes. Logits are kept as (k, c, n): a softmax
over an axis that is not the last is one vectorised pass, some twenty times faster than over ten neighbouring numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stratoscope.probes.checks import check_features, check_labels
from stratoscope.probes.linear.lbfgs import HISTORY, lbfgs
from stratoscope.probes.linear.problem import Problem, sample_size

ROUNDS = 3  # one in float32 (unless the features are float64), the others in float64
FINEST = 1e-13  # tolerance: some hundred times the rounding of objective and dual
WEAKEST = 1e-12  # ridge: the certificate divides the rounding of a squared gradient by it


@dataclass(frozen=True)
class LogisticFit:
    """A fitted multinomial logistic regression for one label set and ridge strength.

    Attributes:
        weight: W, in the coordinates of the features it was fitted on.
        bias: b, centred: it sums to zero.
        objective: P(W, b) in nats, computed in float64.
        gap: Upper bound in nats on `objective` minus the optimum (duality gap). Of a fit that did not converge the
            distance itself may be many times smaller.
        gradient_norm: |grad P|, over W and b.
        iterations: L-BFGS iterations spent.
        converged: Whether `gap` is at most the tolerance asked for.
    """

    weight: Float[Tensor, "d c"]
    bias: Float[Tensor, " c"]
    objective: float
    gap: float
    gradient_norm: float
    iterations: int
    converged: bool

    def logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return W'x + b for every row."""
        return features @ self.weight + self.bias


def fit_logistic(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, "k n"],
    classes: int,
    ridge: float | Sequence[float],
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    start: Float[Tensor, "k e c"] | None = None,
) -> list[LogisticFit]:
    """Fit one multinomial logistic regression per row of labels, all in the same passes over the features.

    Args:
        features: Centred features (see `Standardisation`) in any floating-point type; float64 is iterated in float64,
            any other in float32.
        labels: k label sets for the same n rows, each in [0, classes). A set may come again, with another ridge.
        classes: Number of classes c.
        ridge: Strength of the penalty ridge/2 |W|^2 on the weights, not the bias, of the mean cross-entropy: above 0,
            one for all label sets or one for each.
        tolerance: Duality gap in nats at which a fit is converged.
        max_iterations: Iterations after which a fit is returned unconverged.
        start: Weights with the bias as last row (e = d + 1), one per label set, to start from; zeros without, or where
            these are better.

    Returns:
        One fit per label set, in their order.

    Raises:
        ValueError: If a ridge or the tolerance is too small, a label is out of range, or the features are empty, not
            finite or out of range.
    """
    if not tolerance >= FINEST:
        raise ValueError(f"tolerance must be {FINEST:g} nats or more, got {tolerance:g}: float64 certifies no less")
    ridges = torch.as_tensor(ridge, dtype=torch.float64, device=features.device).expand(len(labels))
    if not bool((ridges > 0).all()):
        raise ValueError(f"ridge must be above 0, got {ridges.min()}: without it separable classes have no optimum")
    check_features(features)
    check_labels(labels, classes)
    problem = Problem(features, labels.long(), classes, ridges)
    theta = torch.zeros(len(labels), features.shape[1] + 1, classes, dtype=problem.dtype, device=features.device)
    if start is not None:
        # features may have moved since: a start worse than zeros (loss log c) could even saturate the softmax
        better = problem.objective(start.to(theta)) < log(classes)
        theta = torch.where(better[:, None, None], start.to(theta), theta)
    # With the bias at its optimum the gap is |grad|^2 / (2 ridge): what an iteration can see of the certificate.
    target = (ridges * tolerance).sqrt()
    spent = torch.zeros(len(labels), dtype=torch.long, device=features.device)
    unsolved = torch.arange(len(labels), device=features.device)
    certificate = None
    for _ in range(ROUNDS):
        part = problem.part(unsolved)
        theta[unsolved], iterations = lbfgs(part, theta[unsolved], target[unsolved], max_iterations - int(spent.max()))
        spent[unsolved] += iterations
        found = part.certify(theta[unsolved])
        certificate = found if certificate is None else certificate.updated(unsolved, found)
        theta = certificate.theta.to(theta)
        unsolved = (certificate.gap > tolerance).nonzero()[:, 0]
        if not len(unsolved) or int(spent.max()) >= max_iterations:
            break
        # What float32 cannot resolve (its gradient carries rounding of some 1e-7), float64 finishes.
        problem, theta, target = problem.double(), theta.double(), target / 2
    assert certificate is not None
    gap = certificate.gap
    if len(unsolved):
        gap = gap.index_copy(0, unsolved, problem.part(unsolved).tighter_gap(certificate.theta[unsolved]))
    return [
        LogisticFit(
            weight=certificate.theta[k, :-1].to(problem.kept),
            bias=(certificate.theta[k, -1] - certificate.theta[k, -1].mean()).to(problem.kept),
            objective=float(certificate.objective[k]),
            gap=float(gap[k]),
            gradient_norm=float(certificate.gradient_norm[k]),
            iterations=int(spent[k]),
            converged=bool(gap[k] <= tolerance),
        )
        for k in range(len(labels))
    ]


def working_memory(n: int, d: int, k: int, classes: int) -> int:
    """Most bytes that `fit_logistic` takes beside the features, for k label sets.

    All is counted in float64, which the certificate and last rounds are computed in: the sample of rows and its Gram
    matrix, shifted and factorised for every problem; the history and some more weights; six arrays of logits.
    """
    sample = min(n, sample_size(d))
    squares = (2 * k + 1) * min(sample, d) ** 2
    return 8 * (sample * d + squares + (2 * HISTORY + 8) * k * (d + 1) * classes + 6 * k * classes * n)
