"""The problem of multinomial logistic regression: objective, gradient and certificate (see `fit_logistic`)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.linear.products import moments, times

SAMPLE = 8192  # rows the preconditioner is made from, or twice the features if these are more
WIDE = 4096  # features above which it is made from WIDE_SAMPLE rows, without a matrix (d, d)
WIDE_SAMPLE = 2048
NEWTON = 20  # Newton steps on the bias, at most
GOLDEN, SECTIONS = (5**0.5 - 1) / 2, 60  # sections of the search for a tighter bound, each to this share of the last


def sample_size(d: int) -> int:
    """How many rows the preconditioner is made from."""
    return max(SAMPLE, 2 * d) if d <= WIDE else WIDE_SAMPLE


@dataclass(frozen=True)
class Certificate:
    """Parameters theta of k problems, with their objective, the gap that bounds its distance to the optimum, |grad|."""

    theta: Float[Tensor, "k e c"]
    objective: Float[Tensor, " k"]
    gap: Float[Tensor, " k"]
    gradient_norm: Float[Tensor, " k"]

    def updated(self, places: Tensor, other: "Certificate") -> "Certificate":
        """This one, with the problems at some places from another."""
        names = ("theta", "objective", "gap", "gradient_norm")
        return Certificate(*(getattr(self, name).index_copy(0, places, getattr(other, name)) for name in names))


class Problem:
    """The objective, its gradient and its dual, for k problems on the same features."""

    def __init__(
        self, features: Tensor, labels: Tensor, classes: int, ridge: Tensor, dtype: torch.dtype | None = None
    ) -> None:
        self.x, self.y, self.classes, self.n = features, labels, classes, len(features)
        self.kept = features.dtype if features.dtype == torch.float64 else torch.float32
        self.dtype = dtype or self.kept
        self.ridge64, self.ridge = ridge, ridge.to(self.dtype)
        self.counts = torch.stack([torch.bincount(y, minlength=classes) for y in labels]).double()  # k c

    def part(self, places: Tensor) -> "Problem":
        """Some of the problems."""
        if len(places) == len(self.y):
            return self
        return Problem(self.x, self.y[places], self.classes, self.ridge64[places], self.dtype)

    def double(self) -> "Problem":
        """The same problems in float64."""
        return Problem(self.x, self.y, self.classes, self.ridge64, torch.float64)

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
        size = min(self.n, sample_size(self.x.shape[1]))
        places = torch.arange(size, device=self.x.device) * self.n // size
        return self.x[places].to(self.dtype)

    def certify(self, theta: Float[Tensor, "k e c"]) -> Certificate:
        """Objective, duality gap and gradient norm in float64, at theta with its bias made the best for its weights."""
        theta, objective, q = self._feasible(theta.double())
        entropy = torch.special.entr(q).sum(1).mean(1)
        moments = self.moments(self.residual(q))
        gap = objective - entropy + moments.square().sum((1, 2)) / (2 * self.ridge64)
        # the bias is the best, so its part of the gradient is zero to rounding
        gradient = moments + self.ridge64[:, None, None] * theta[:, :-1]
        return Certificate(theta, objective, gap, gradient.flatten(1).norm(dim=1))

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
