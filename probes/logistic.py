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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stratoscope.probes.giving_up import go_on
from stratoscope.probes.products import finite, moments, times
from stratoscope.probes.standardisation import check_range

HISTORY = 12  # pairs kept by L-BFGS
SAMPLE = 8192  # rows the preconditioner is made from, or twice the features if these are more
WIDE = 4096  # features above which it is made from WIDE_SAMPLE rows, without a matrix (d, d)
WIDE_SAMPLE = 2048
TRIALS = 10  # steps tried by one line search
ROUNDS = 3  # one in float32 (unless the features are float64), the others in float64
FINEST = 1e-13  # tolerance: some hundred times the rounding of objective and dual
WEAKEST = 1e-12  # ridge: the certificate divides the rounding of a squared gradient by it
NEWTON = 20  # Newton steps on the bias, at most
GOLDEN, SECTIONS = (5**0.5 - 1) / 2, 60  # sections of the search for a tighter bound, each to this share of the last


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
    _check(features, labels, classes, ridges)
    problem = _Problem(features, labels.long(), classes, ridges)
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
        theta[unsolved], iterations = _lbfgs(part, theta[unsolved], target[unsolved], max_iterations - int(spent.max()))
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
    sample = min(n, _sample_size(d))
    squares = (2 * k + 1) * min(sample, d) ** 2
    return 8 * (sample * d + squares + (2 * HISTORY + 8) * k * (d + 1) * classes + 6 * k * classes * n)


def _sample_size(d: int) -> int:
    return max(SAMPLE, 2 * d) if d <= WIDE else WIDE_SAMPLE


def _check(features: Tensor, labels: Tensor, classes: int, ridges: Tensor) -> None:
    if not bool((ridges > 0).all()):
        raise ValueError(f"ridge must be above 0, got {ridges.min()}: without it separable classes have no optimum")
    if features.numel() == 0:
        raise ValueError(f"there are no features to fit: shape {tuple(features.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"labels must be in [0, {classes}), got {int(labels.min())} to {int(labels.max())}")
    if not finite(features):
        raise ValueError("features contain NaN or infinity")
    check_range(features)


@dataclass(frozen=True)
class _Certificate:
    theta: Float[Tensor, "k e c"]
    objective: Float[Tensor, " k"]
    gap: Float[Tensor, " k"]
    gradient_norm: Float[Tensor, " k"]

    def updated(self, places: Tensor, other: "_Certificate") -> "_Certificate":
        """This one, with the problems at some places from another."""
        names = ("theta", "objective", "gap", "gradient_norm")
        return _Certificate(*(getattr(self, name).index_copy(0, places, getattr(other, name)) for name in names))


class _Problem:
    """The objective, its gradient and its dual, for k problems on the same features."""

    def __init__(
        self, features: Tensor, labels: Tensor, classes: int, ridge: Tensor, dtype: torch.dtype | None = None
    ) -> None:
        self.x, self.y, self.classes, self.n = features, labels, classes, len(features)
        self.kept = features.dtype if features.dtype == torch.float64 else torch.float32
        self.dtype = dtype or self.kept
        self.ridge64, self.ridge = ridge, ridge.to(self.dtype)
        self.counts = torch.stack([torch.bincount(y, minlength=classes) for y in labels]).double()  # k c

    def part(self, places: Tensor) -> "_Problem":
        """Some of the problems."""
        if len(places) == len(self.y):
            return self
        return _Problem(self.x, self.y[places], self.classes, self.ridge64[places], self.dtype)

    def double(self) -> "_Problem":
        """The same problems in float64."""
        return _Problem(self.x, self.y, self.classes, self.ridge64, torch.float64)

    def product(self, theta: Float[Tensor, "k e c"]) -> Float[Tensor, "k c n"]:
        """X'theta: the logits of parameters theta, or their change along a direction theta."""
        weight = theta[:, :-1].mT.reshape(-1, self.x.shape[1])  # kc d
        return times(self.x, weight).view(len(theta), self.classes, self.n) + theta[:, -1, :, None]

    def moments(self, rows: Float[Tensor, "k c n"]) -> Float[Tensor, "k d c"]:
        """1/n sum_i x_i r_i'."""
        total = moments(rows.reshape(-1, self.n), self.x)
        return total.view(len(rows), self.classes, -1).mT / self.n

    def objective(self, theta: Float[Tensor, "k e c"]) -> Float[Tensor, " k"]:
        """P at theta."""
        log_p = self.product(theta).log_softmax(1).gather(1, self.y[:, None])[:, 0]
        return self.ridge / 2 * theta[:, :-1].square().sum((1, 2)) - log_p.mean(1)

    def residual(self, p: Float[Tensor, "k c n"]) -> Float[Tensor, "k c n"]:
        """Probabilities minus one-hot labels, in place."""
        return p.scatter_add_(1, self.y[:, None], p.new_tensor(-1.0).expand(len(p), 1, self.n))

    def gradient(self, theta: Float[Tensor, "k e c"], residual: Float[Tensor, "k c n"]) -> Float[Tensor, "k e c"]:
        """Gradient of P at theta, whose residual is given."""
        weight = self.moments(residual) + self.ridge[:, None, None] * theta[:, :-1]
        return torch.cat([weight, residual.mean(2)[:, None]], dim=1)

    def sample(self) -> Float[Tensor, "m d"]:
        """Evenly spaced rows for the preconditioner."""
        size = min(self.n, _sample_size(self.x.shape[1]))
        places = torch.arange(size, device=self.x.device) * self.n // size
        return self.x[places].to(self.dtype)

    def certify(self, theta: Float[Tensor, "k e c"]) -> _Certificate:
        """Objective, duality gap and gradient norm in float64, at theta with its bias made the best for its weights."""
        theta, objective, q = self._feasible(theta.double())
        entropy = torch.special.entr(q).sum(1).mean(1)
        moments = self.moments(self.residual(q))
        gap = objective - entropy + moments.square().sum((1, 2)) / (2 * self.ridge64)
        # the bias is the best, so its part of the gradient is zero to rounding
        gradient = moments + self.ridge64[:, None, None] * theta[:, :-1]
        return _Certificate(theta, objective, gap, gradient.flatten(1).norm(dim=1))

    def tighter_gap(self, theta: Float[Tensor, "k e c"]) -> Float[Tensor, " k"]:
        """The duality gap at the best of the dual points between the labels and the fitted probabilities."""
        _, objective, q = self._feasible(theta.double())
        own = q.gather(1, self.y[:, None])[:, 0]
        wrong = 1 - own
        spread = torch.special.entr(q).sum(1) - torch.special.entr(own)  # -S_i
        moments = self.moments(self.residual(q)).square().sum((1, 2)) / (2 * self.ridge64)
        mean_wrong, mean_spread = wrong.mean(1), spread.mean(1)

        def dual(t: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
            kept = torch.special.entr((1 - t[:, None] * wrong).clamp(min=0)).mean(1)
            value: Tensor = torch.special.entr(t) * mean_wrong + t * mean_spread + kept - t.square() * moments
            return value

        low, high = torch.zeros_like(moments), torch.ones_like(moments)
        for _ in range(SECTIONS):  # D is concave in t: any t gives a bound, this one nearly the best
            a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            rises = dual(a) < dual(b)
            low, high = torch.where(rises, a, low), torch.where(rises, high, b)
        best: Tensor = torch.stack([dual(t) for t in (low, high, torch.ones_like(low))]).amax(0)
        gap: Tensor = objective - best
        return gap

    def _feasible(self, theta: Float[Tensor, "k e c"]) -> tuple[Tensor, Tensor, Tensor]:
        """Theta with the best bias for its weights, P there, and a dual point from its probabilities, (k, c, n)."""
        weight, bias = theta[:, :-1], theta[:, -1]
        logits = self.product(torch.cat([weight, torch.zeros_like(bias)[:, None]], dim=1))
        bias = self._best_bias(logits, bias)
        log_p = (logits + bias[..., None]).log_softmax(1)
        cross_entropy = -log_p.gather(1, self.y[:, None])[:, 0].mean(1)
        penalty = self.ridge64 / 2 * weight.square().sum((1, 2))
        q = _onto_counts(log_p.exp_(), self.counts)
        return torch.cat([weight, bias[:, None]], dim=1), cross_entropy + penalty, q

    def _best_bias(self, logits: Float[Tensor, "k c n"], bias: Float[Tensor, "k c"]) -> Float[Tensor, "k c"]:
        """The bias that fits best with the weights as they are, by Newton's method: column sums become class counts."""
        ones = torch.full((self.classes, self.classes), 1 / self.classes, dtype=bias.dtype, device=bias.device)
        for _ in range(NEWTON):
            p = (logits + bias[..., None]).softmax(1)
            mean = p.mean(2)
            gradient = mean - self.counts / self.n
            if bool((gradient.abs() < 1e-13).all()):
                break
            # regular along constant biases, which change nothing (`ones`), and for classes that never occur (1e-14)
            hessian = (mean + 1e-14).diag_embed() - p @ p.mT / self.n + ones
            bias = bias - torch.linalg.solve(hessian, gradient).clamp(-1, 1)
        return bias


def _onto_counts(p: Float[Tensor, "k c n"], counts: Float[Tensor, "k c"]) -> Float[Tensor, "k c n"]:
    """Move probabilities as little as need be so that their sums over rows are the class counts, rows in the simplex.

    Classes with too much give it up in proportion; each row hands what it gave to the classes with too little.
    """
    total = p.sum(2)
    lack = (counts - total).clamp(min=0)
    kept = torch.where(total > counts, counts / total, 1.0)
    given = (p * (1 - kept)[..., None]).sum(1, keepdim=True)
    share = lack / lack.sum(1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return p * kept[..., None] + given * share[..., None]


def _lbfgs(
    problem: _Problem, theta: Float[Tensor, "k e c"], target: Float[Tensor, " k"], max_iterations: int
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
    problem: _Problem,
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
