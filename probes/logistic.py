"""Multinomial logistic regression at its optimum, with a certificate.

The linear probe of Alain & Bengio (2016, section 3.1) is softmax(W'x + b) trained by cross-entropy on frozen features.
With an L2 penalty on W the problem is convex and has one answer (up to a constant in b, which is centred):

    P(W, b) = 1/n sum_i [ logsumexp(z_i) - z_i[y_i] ] + ridge/2 |W|^2,    z_i = W'x_i + b.

*Method.* L-BFGS whose initial inverse Hessian is (h XX + ridge I)^-1, XX = X'X/n and h the mean of p(1 - p): close to
the true inverse Hessian, so some tens of iterations suffice where the plain method takes hundreds. The logits are
linear in the weights, so a line search along D costs nothing but element-wise work once X'D is known: every iteration
reads the features twice, whatever the number of trial steps, and all label sets share these reads.

*Certificate.* The dual of P (Fenchel; for the binary case see Yu, Huang & Lin 2011, eq. 3) is, over rows q_i in the
simplex whose column sums are the class counts,

    D(q) = 1/n sum_i entropy(q_i) - 1/(2 ridge) |1/n sum_i x_i (q_i - e_{y_i})'|^2   <=   min P.

The fitted probabilities give such a q once the bias is the best for W (a Newton iteration in c numbers) and what is
left is moved onto the class counts; P(W, b) - D(q) then bounds the distance to the optimum, whatever the solver did. It
is computed in float64. A fit ends when it is small enough, and says so when it is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

HISTORY = 12  # pairs kept by L-BFGS
ROWS = 4096  # rows turned into float64 at a time
TRIALS = 10  # steps tried by one line search
ROUNDS = 3  # one in the precision of the features, the others in float64
NEWTON = 20  # Newton steps on the bias, at most


@dataclass(frozen=True)
class LogisticFit:
    """A fitted multinomial logistic regression for one label set.

    Attributes:
        weight: W, in the coordinates of the features it was fitted on.
        bias: b, centred: it sums to zero.
        objective: P(W, b) in nats, computed in float64.
        gap: Upper bound in nats on `objective` minus the optimum (duality gap).
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
    ridge: float,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    start: Float[Tensor, "k e c"] | None = None,
) -> list[LogisticFit]:
    """Fit one multinomial logistic regression per label set, all in the same passes over the features.

    Args:
        features: Centred features (see `Standardisation`), float32 or float64: the precision of the iteration.
        labels: k label sets for the same n rows, each in [0, classes).
        classes: Number of classes c.
        ridge: Strength of the penalty ridge/2 |W|^2 on the weights, not the bias, of the mean cross-entropy. Above 0.
        tolerance: Duality gap in nats at which a fit is converged.
        max_iterations: Iterations after which a fit is returned unconverged.
        start: Weights with the bias as last row (e = d + 1), one per label set, to start from; zeros without, or where
            these are better.

    Returns:
        One fit per label set, in their order.

    Raises:
        ValueError: If ridge is not positive, a label is out of range, or the features are empty or not finite.
    """
    _check(features, labels, classes, ridge)
    labels = labels.long()
    problem = _Problem(features, labels, classes, ridge)
    theta = torch.zeros(labels.shape[0], features.shape[1] + 1, classes, dtype=features.dtype, device=features.device)
    if start is not None:
        # features may have moved since: a start worse than zeros (loss log c) could even saturate the softmax
        better = problem.objective(start.to(theta)) < log(classes)
        theta = torch.where(better[:, None, None], start.to(theta), theta)
    # With the bias at its optimum the gap is |grad|^2 / (2 ridge): what an iteration can see of the certificate.
    target = (ridge * tolerance) ** 0.5
    spent = torch.zeros(labels.shape[0], dtype=torch.long, device=features.device)
    unsolved = torch.ones_like(spent, dtype=torch.bool)
    rounds = 0
    while True:
        theta, iterations = _lbfgs(problem, theta, target, unsolved, max_iterations - int(spent.max()))
        spent += iterations
        certificate = problem.certify(theta)
        theta = certificate.theta.to(theta)
        unsolved = certificate.gap > tolerance
        rounds += 1
        if not bool(unsolved.any()) or int(spent.max()) >= max_iterations or rounds == ROUNDS:
            break
        # What float32 cannot resolve (its gradient carries rounding of some 1e-7), float64 finishes.
        problem, theta, target = problem.double(), theta.double(), target / 2
    theta = certificate.theta
    bias = theta[:, -1] - theta[:, -1].mean(1, keepdim=True)
    return [
        LogisticFit(
            weight=theta[k, :-1].to(features.dtype),
            bias=bias[k].to(features.dtype),
            objective=float(certificate.objective[k]),
            gap=float(certificate.gap[k]),
            gradient_norm=float(certificate.gradient_norm[k]),
            iterations=int(spent[k]),
            converged=bool(certificate.gap[k] <= tolerance),
        )
        for k in range(labels.shape[0])
    ]


def _check(features: Tensor, labels: Tensor, classes: int, ridge: float) -> None:
    if not ridge > 0:
        raise ValueError(f"ridge must be above 0, got {ridge}: without it separable classes have no optimum")
    if features.numel() == 0:
        raise ValueError(f"there are no features to fit: shape {tuple(features.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"labels must be in [0, {classes}), got {int(labels.min())} to {int(labels.max())}")
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features contain NaN or infinity")


@dataclass(frozen=True)
class _Certificate:
    theta: Float[Tensor, "k e c"]
    objective: Float[Tensor, " k"]
    gap: Float[Tensor, " k"]
    gradient_norm: Float[Tensor, " k"]


class _Problem:
    """The objective, its gradient, its preconditioner and its dual, for k label sets on the same features."""

    def __init__(
        self, features: Tensor, labels: Tensor, classes: int, ridge: float, gram: Tensor | None = None
    ) -> None:
        self.x, self.labels, self.ridge, self.classes = features, labels, ridge, classes
        self.n, self.k = features.shape[0], labels.shape[0]
        self.y = labels.T.contiguous()  # n k
        self.counts = torch.stack([torch.bincount(y, minlength=classes) for y in labels])  # k c
        self.gram = _sum(rows.T @ rows for rows in features.split(ROWS)) / self.n if gram is None else gram

    def double(self) -> "_Problem":
        """The same problem in float64."""
        return _Problem(self.x.double(), self.labels, self.classes, self.ridge, self.gram.double())

    def product(self, theta: Tensor) -> Float[Tensor, "n k c"]:
        """X'theta: the logits of parameters theta, or their change along a direction theta."""
        weight = theta[:, :-1].movedim(0, 1).reshape(-1, self.k * self.classes)
        return (self.x @ weight).view(self.n, self.k, self.classes) + theta[:, -1]

    def objective(self, theta: Tensor) -> Float[Tensor, " k"]:
        """P at theta."""
        log_p = self.product(theta).log_softmax(2).gather(2, self.y[..., None])[..., 0]
        return self.ridge / 2 * theta[:, :-1].square().sum((1, 2)) - log_p.mean(0)

    def residual(self, logits: Tensor) -> Float[Tensor, "n k c"]:
        """Softmax minus one-hot labels."""
        residual = logits.softmax(2)
        residual.scatter_add_(2, self.y[..., None], residual.new_tensor(-1.0).expand(self.n, self.k, 1))
        return residual

    def gradient(self, theta: Tensor, residual: Tensor) -> Float[Tensor, "k e c"]:
        """Gradient of P at theta, whose residual is given."""
        weight = (residual.view(self.n, -1).T @ self.x).view(self.k, self.classes, -1).mT / self.n
        return torch.cat([weight + self.ridge * theta[:, :-1], residual.mean(0)[:, None]], dim=1)

    def curvature(self, residual: Tensor) -> Float[Tensor, " k"]:
        """Mean of p(1 - p) over rows and classes; |residual| is p, or 1 - p for the labelled class."""
        return (residual.abs() * (1 - residual.abs())).mean((0, 2))

    def preconditioner(self, curvature: Tensor) -> Float[Tensor, "k d d"]:
        """Cholesky factors of h XX + ridge I; XX with what makes it positive definite in spite of rounding."""
        eye = torch.eye(self.gram.shape[0], dtype=self.gram.dtype, device=self.gram.device)
        rounding = 8 * torch.finfo(self.gram.dtype).eps * self.gram.diagonal().sum()
        factor: Tensor = torch.linalg.cholesky(
            curvature[:, None, None] * (self.gram + rounding * eye) + self.ridge * eye
        )
        return factor

    def certify(self, theta: Tensor) -> _Certificate:
        """Objective, duality gap and gradient norm in float64, at theta with its bias made the best for its weights."""
        theta = theta.double()
        weight, bias = theta[:, :-1], theta[:, -1]
        columns = weight.movedim(0, 1).reshape(-1, self.k * self.classes)
        logits = torch.cat([x @ columns for x in self._float64()]).view(self.n, self.k, -1)
        bias = self._best_bias(logits, bias)
        logits += bias
        log_p = logits.log_softmax(2)
        cross_entropy = -log_p.gather(2, self.y[..., None])[..., 0].mean(0)
        penalty = self.ridge / 2 * weight.square().sum((1, 2))
        p = log_p.exp()
        q = _onto_counts(p, self.counts.double())
        one_hot = torch.nn.functional.one_hot(self.y, self.classes)
        both = torch.cat([q - one_hot, p - one_hot], dim=1)
        rows = both.view(self.n, -1).split(ROWS)
        moments = (
            _sum(r.T @ x for r, x in zip(rows, self._float64(), strict=True)).view(2 * self.k, self.classes, -1).mT
        )
        dual, primal = (moments / self.n).split(self.k)
        entropy = torch.special.entr(q).sum(2).mean(0)
        gap = cross_entropy + penalty - entropy + dual.square().sum((1, 2)) / (2 * self.ridge)
        gradient = torch.cat([primal + self.ridge * weight, (p - one_hot).mean(0)[:, None]], dim=1)
        theta = torch.cat([weight, bias[:, None]], dim=1)
        return _Certificate(theta, cross_entropy + penalty, gap, gradient.flatten(1).norm(dim=1))

    def _best_bias(self, logits: Tensor, bias: Tensor) -> Float[Tensor, "k c"]:
        """The bias that fits best with the weights as they are, by Newton's method: column sums become class counts."""
        ones = torch.full((self.classes, self.classes), 1 / self.classes, dtype=bias.dtype, device=bias.device)
        for _ in range(NEWTON):
            p = (logits + bias).softmax(2)
            gradient = p.mean(0) - self.counts.double() / self.n
            if bool((gradient.abs() < 1e-13).all()):
                break
            # regular along constant biases, which change nothing (`ones`), and for classes that never occur (1e-14)
            hessian = (p.mean(0) + 1e-14).diag_embed() - torch.einsum("nkc,nke->kce", p, p) / self.n + ones
            bias = bias - torch.linalg.solve(hessian, gradient).clamp(-1, 1)
        return bias

    def _float64(self) -> Iterator[Tensor]:
        return (rows.double() for rows in self.x.split(ROWS))


def _sum(parts: Iterable[Tensor]) -> Tensor:
    """Sum of tensors, in their order."""
    return reduce(torch.add, parts)


def _onto_counts(p: Float[Tensor, "n k c"], counts: Float[Tensor, "k c"]) -> Float[Tensor, "n k c"]:
    """Move probabilities as little as need be so that their column sums are the class counts, rows staying simplices.

    Classes with too much give it up in proportion; each row hands what it gave to the classes with too little.
    """
    total = p.sum(0)
    lack = (counts - total).clamp(min=0)
    kept = torch.where(total > counts, counts / total, 1.0)
    given = (p * (1 - kept)).sum(2, keepdim=True)
    share = lack / lack.sum(1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return p * kept + given * share


def _lbfgs(
    problem: _Problem, theta: Tensor, target: float, open_sets: Tensor, max_iterations: int
) -> tuple[Tensor, Tensor]:
    """Minimise P from theta until |grad| <= target for every open label set; return it and the iterations spent."""
    logits = problem.product(theta)
    residual = problem.residual(logits)
    gradient = problem.gradient(theta, residual)
    curvature = problem.curvature(residual)
    factor = problem.preconditioner(curvature)
    spent = torch.zeros(problem.k, dtype=torch.long, device=theta.device)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(max_iterations):
        open_sets = open_sets & (gradient.flatten(1).norm(dim=1) > target)
        if not bool(open_sets.any()):
            break
        spent += open_sets
        now = problem.curvature(residual)
        if bool(((now < curvature / 2) | (now > curvature * 2)).any()):
            curvature = now
            factor = problem.preconditioner(curvature)
        direction = -_two_loop(gradient, history, factor, curvature) * open_sets[:, None, None]
        change = problem.product(direction)
        step = _line_search(problem, theta, direction, logits, change, residual)
        if not bool((step > 0).any()):  # float32 sees no descent any more
            break
        theta = theta + step[:, None, None] * direction
        logits = logits + step[:, None] * change
        residual = problem.residual(logits)
        previous, gradient = gradient, problem.gradient(theta, residual)
        s, y = step[:, None, None] * direction, gradient - previous
        sy = _dot(s, y)
        history.append((s, y, torch.where(sy > 0, 1 / sy, 0.0)))
        del history[:-HISTORY]
    return theta, spent


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, " k"]:
    return (a * b).sum((1, 2))


def _two_loop(
    gradient: Tensor, history: list[tuple[Tensor, Tensor, Tensor]], factor: Tensor, curvature: Tensor
) -> Float[Tensor, "k e c"]:
    """Inverse-Hessian estimate times the gradient (Nocedal & Wright 2006, algorithm 7.4)."""
    q = gradient
    alphas = []
    for s, y, rho in reversed(history):
        alpha = rho * _dot(s, q)
        alphas.append(alpha)
        q = q - alpha[:, None, None] * y
    weight = torch.cholesky_solve(q[:, :-1], factor)
    r = torch.cat([weight, q[:, -1:] / curvature[:, None, None]], dim=1)
    for (s, y, rho), alpha in zip(history, reversed(alphas), strict=True):
        r = r + (alpha - rho * _dot(y, r))[:, None, None] * s
    return r


def _line_search(
    problem: _Problem, theta: Tensor, direction: Tensor, logits: Tensor, change: Tensor, residual: Tensor
) -> Float[Tensor, " k"]:
    """Step t >= 0 per label set at which the slope along the direction has all but vanished.

    Newton's method in one dimension from t = 1, kept inside the bracket known so far. It needs no pass over the
    features. A label set without descent gets 0.
    """
    offset = problem.ridge * _dot(theta[:, :-1], direction[:, :-1])
    penalty = problem.ridge * _dot(direction[:, :-1], direction[:, :-1])
    first = (residual * change).sum(2).mean(0) + offset
    step = torch.where(first < 0, 1.0, 0.0).to(first)
    low, high = torch.zeros_like(step), torch.full_like(step, torch.inf)
    for _ in range(TRIALS):
        p = (logits + step[:, None] * change).softmax(2)
        mean = (p * change).sum(2)
        labelled = change.gather(2, problem.y[..., None])[..., 0]
        slope = (mean - labelled).mean(0) + offset + step * penalty
        bend = ((p * change.square()).sum(2) - mean.square()).mean(0) + penalty
        searching = (slope.abs() > 0.3 * first.abs()) & (first < 0)
        if not bool(searching.any()):
            break
        low = torch.where(searching & (slope < 0), step, low)
        high = torch.where(searching & (slope > 0), step, high)
        newton = step - slope / bend.clamp(min=torch.finfo(bend.dtype).tiny)
        inside = (newton > low) & (newton < high)
        midway = torch.where(high.isinf(), 4 * step, (low + high) / 2)
        step = torch.where(searching, torch.where(inside, newton.clamp(max=10 * step.clamp(min=1e-3)), midway), step)
    return step
