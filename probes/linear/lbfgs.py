"""L-BFGS for several problems at once, preconditioned by the curvature of a sample (see `fit_logistic`)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stratoscope.probes.giving_up import go_on
from stratoscope.probes.linear.problem import Problem

HISTORY = 12  # pairs kept by L-BFGS
TRIALS = 10  # steps tried by one line search


def lbfgs(
    problem: Problem, theta: Float[Tensor, "k e c"], target: Float[Tensor, " k"], max_iterations: int
) -> tuple[Float[Tensor, "k e c"], Int[Tensor, " k"]]:
    """Minimise P from theta until |grad| <= target for every problem; return it and the iterations spent."""
    found = theta.clone()
    spent = torch.zeros(len(theta), dtype=torch.long, device=theta.device)
    places = torch.arange(len(theta), device=theta.device)  # of the problems that are not solved yet
    precondition = _Preconditioner(problem.sample())
    logits = problem.product(theta)
    residual = problem.residual(logits.softmax(1))
    gradient = problem.gradient(theta, residual)
    curvature = _curvature(residual)
    precondition.factorise(curvature, problem.ridge)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(max_iterations):
        go_on()
        open_ones = gradient.flatten(1).norm(dim=1) > target
        if not bool(open_ones.all()):
            found[places] = theta
            keep = open_ones.nonzero()[:, 0]
            if not len(keep):
                break
            problem, places, target, curvature = problem.part(keep), places[keep], target[keep], curvature[keep]
            theta, logits, residual, gradient = theta[keep], logits[keep], residual[keep], gradient[keep]
            history = [(s[keep], y[keep], rho[keep]) for s, y, rho in history]
            precondition.keep(keep)
        spent[places] += 1
        now = _curvature(residual)
        if bool(((now < curvature / 2) | (now > curvature * 2)).any()):
            curvature = now
            precondition.factorise(curvature, problem.ridge)
        estimate = _two_loop if gradient.device.type == "cpu" else _compact
        direction = -estimate(gradient, history, precondition, curvature)
        change = problem.product(direction)
        step, p = _line_search(problem, theta, direction, logits, change, residual)
        if not bool((step > 0).any()):  # float32 sees no descent any more
            break
        s = step[:, None, None] * direction
        theta, logits = theta + s, logits.add_(step[:, None, None] * change)
        residual = problem.residual(p)
        previous, gradient = gradient, problem.gradient(theta, residual)
        y = gradient - previous
        sy = _dot(s, y)
        history.append((s, y, torch.where(sy > 0, 1 / sy, 0.0)))
        del history[:-HISTORY]
    found[places] = theta
    return found, spent


def _curvature(residual: Float[Tensor, "k c n"]) -> Float[Tensor, " k"]:
    """Mean of p(1 - p) over rows and classes; |residual| is p, or 1 - p for the labelled class."""
    return (residual.abs() - residual.square()).mean((1, 2)).clamp(min=torch.finfo(residual.dtype).eps)


class _Preconditioner:
    """Applies (h XX + ridge I)^-1 to (k, d, c), with XX = X'X/m of m sampled rows.

    With more features than rows the matrix is never formed: by Woodbury's identity the inverse is
    (I - X'(m ridge/h I + XX')^-1 X) / ridge. On an accelerator, where substitution is a hundred times slower than a
    product, the inverse itself is kept in place of its Cholesky factor.
    """

    def __init__(self, sample: Float[Tensor, "m d"]) -> None:
        self.x, (m, d) = sample, sample.shape
        self.tall = d <= m
        self.gram = sample.T @ sample / m if self.tall else sample @ sample.T
        # keeps it positive definite in spite of rounding
        self.gram.diagonal().add_(8 * torch.finfo(sample.dtype).eps * self.gram.diagonal().sum())
        self.substitutes = sample.device.type == "cpu"

    def factorise(self, curvature: Float[Tensor, " k"], ridge: Float[Tensor, " k"]) -> None:
        """Set h and the ridge of every problem."""
        eye = torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        h, self.ridge = curvature[:, None, None], ridge[:, None, None]
        shifted = h * self.gram + self.ridge * eye if self.tall else self.gram + len(self.x) * self.ridge / h * eye
        self.factor = torch.linalg.cholesky(shifted)
        if not self.substitutes:
            half = torch.linalg.solve_triangular(self.factor, eye, upper=False)
            self.factor = half.mT @ half

    def keep(self, places: Int[Tensor, " j"]) -> None:
        """Go on with some of the problems."""
        self.factor, self.ridge = self.factor[places], self.ridge[places]

    def __call__(self, gradient: Float[Tensor, "k d c"]) -> Float[Tensor, "k d c"]:
        if self.tall:
            return self._solve(gradient)
        return (gradient - self.x.T @ self._solve(self.x @ gradient)) / self.ridge

    def _solve(self, right: Float[Tensor, "k r c"]) -> Float[Tensor, "k r c"]:
        return torch.cholesky_solve(right, self.factor) if self.substitutes else self.factor @ right


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, " k"]:
    return (a * b).sum((1, 2))


def _two_loop(
    gradient: Float[Tensor, "k e c"],
    history: list[tuple[Tensor, Tensor, Tensor]],
    precondition: Callable[[Tensor], Tensor],
    curvature: Float[Tensor, " k"],
) -> Float[Tensor, "k e c"]:
    """Inverse-Hessian estimate times the gradient (Nocedal & Wright 2006, algorithm 7.4)."""
    q = gradient
    alphas = []
    for s, y, rho in reversed(history):
        alpha = rho * _dot(s, q)
        alphas.append(alpha)
        q = q - alpha[:, None, None] * y
    r = torch.cat([precondition(q[:, :-1]), q[:, -1:] / curvature[:, None, None]], dim=1)
    for (s, y, rho), alpha in zip(history, reversed(alphas), strict=True):
        r = r + (alpha - rho * _dot(y, r))[:, None, None] * s
    return r


def _compact(
    gradient: Float[Tensor, "k e c"],
    history: list[tuple[Tensor, Tensor, Tensor]],
    precondition: Callable[[Tensor], Tensor],
    curvature: Float[Tensor, " k"],
) -> Float[Tensor, "k e c"]:
    """The same estimate from products of whole matrices: a tenth of the launches that the two loops cost a device.

    With the m pairs as rows of S and Y, R the upper triangle of SY' with its diagonal D, and H the preconditioner,

        estimate g = Hg + S'u - (YH)'w,    Rw = Sg,    R'u = (D + YHY')w - YHg.

    Source: Byrd, Nocedal & Schnabel 1994, Math. Program. 63:129-156, theorem 2.2.
    """
    k, (e, c), m = len(gradient), gradient.shape[1:], len(history)
    rows = torch.stack([*(y for _, y, _ in history), gradient], 1)  # k m+1 e c
    columns = rows[:, :, :-1].transpose(1, 2).reshape(k, e - 1, -1)
    weight = precondition(columns).view(k, e - 1, m + 1, c).transpose(1, 2)
    h = torch.cat([weight, rows[:, :, -1:] / curvature[:, None, None, None]], 2).flatten(2)  # k m+1 ec
    if not history:
        return h[:, 0].view_as(gradient)
    used = torch.stack([rho for _, _, rho in history], 1)[..., None] > 0  # a pair without curvature is no pair
    s = torch.stack([s for s, _, _ in history], 1).flatten(2) * used
    y, g, yh, hg = rows[:, :-1].flatten(2) * used, rows[:, -1].flatten(1), h[:, :-1] * used, h[:, -1]
    r = (s @ y.mT).triu()
    diagonal = r.diagonal(dim1=1, dim2=2)
    middle = yh @ y.mT + diagonal.diag_embed()
    r = r + (~used[..., 0]).to(r).diag_embed()
    w = torch.linalg.solve_triangular(r, s @ g[..., None], upper=True)
    u = torch.linalg.solve_triangular(r.mT, middle @ w - yh @ g[..., None], upper=False)
    estimate: Tensor = (hg + (s.mT @ u - yh.mT @ w)[..., 0]).view_as(gradient)
    return estimate


def _line_search(
    problem: Problem,
    theta: Float[Tensor, "k e c"],
    direction: Float[Tensor, "k e c"],
    logits: Float[Tensor, "k c n"],
    change: Float[Tensor, "k c n"],
    residual: Float[Tensor, "k c n"],
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k c n"]]:
    """Step t >= 0 per problem at which the slope along the direction has all but vanished, and the probabilities there.

    Newton's method in one dimension from t = 1, kept inside the bracket known so far. It needs no pass over the
    features. A problem without descent gets 0.
    """
    offset = problem.ridge * _dot(theta[:, :-1], direction[:, :-1])
    penalty = problem.ridge * _dot(direction[:, :-1], direction[:, :-1])
    first = (residual * change).sum(1).mean(1) + offset
    labelled = change.gather(1, problem.y[:, None])[:, 0].mean(1)
    step = torch.where(first < 0, 1.0, 0.0).to(first)
    low, high = torch.zeros_like(step), torch.full_like(step, torch.inf)
    p = torch.addcmul(logits, step[:, None, None], change).softmax(1)
    for _ in range(TRIALS):
        weighted = p * change
        mean = weighted.sum(1)
        slope = mean.mean(1) - labelled + offset + step * penalty
        searching = (slope.abs() > 0.3 * first.abs()) & (first < 0)
        if not bool(searching.any()):
            break
        bend = (weighted.mul_(change).sum(1) - mean.square()).mean(1) + penalty
        low = torch.where(searching & (slope < 0), step, low)
        high = torch.where(searching & (slope > 0), step, high)
        newton = step - slope / bend.clamp(min=torch.finfo(bend.dtype).tiny)
        inside = (newton > low) & (newton < high)
        midway = torch.where(high.isinf(), 4 * step, (low + high) / 2)
        step = torch.where(searching, torch.where(inside, newton.clamp(max=10 * step.clamp(min=1e-3)), midway), step)
        p = torch.addcmul(logits, step[:, None, None], change).softmax(1)
    return step, p
