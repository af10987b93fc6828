"""Linear probes trained by SGD beside the network, one step per training batch (Alain & Bengio 2016, section 3).

A probe is softmax(W x + b) of one layer's standardised features x = (activation - mean) / deviation; no gradient
reaches the network. On a batch of n rows, with (x_i, 1) for x_i and the penalty on W alone, objective and gradient are

    P = 1/n sum_i [ logsumexp(z_i) - z_i[y_i] ] + ridge/2 |W|^2,    G = 1/n sum_i (p_i - e_{y_i}) x_i' + ridge W,

and every training batch brings one step of SGD with momentum:

    V <- momentum V - learning_rate / (L + ridge) G,    W <- W + V,    L = 1/2 (1 + 1/n sum_i |x_i|^2).

*Stability.* The Hessian of the loss is the mean of (diag(p_i) - p_i p_i') (x) x_i x_i', whose factors have eigenvalues
of at most 1/2 (Boehning 1992, Ann. Inst. Stat. Math. 44:197-200) and |x_i|^2. So L bounds the curvature of the very
batch that the step is made for, however wide the layer and wherever its activations went, and no direction overshoots
at a learning rate below 2 (1 + momentum) (Polyak 1964).

*Standardisation.* Mean and variance are those of all batches up to the 100th, and from there on exponential averages
with weight 1/100, as the network moves. A batch is standardised by the batches before it, so one sum over processes
brings gradient and statistics; in the very first one, features count as constant and teach only b.

Axes: k label kinds, c classes, n rows, d features. A softmax over an axis that is not the last is one vectorised pass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 100  # batches that mean and variance go back over


@dataclass
class OnlineProbe:
    """Linear classifiers on one layer, one per label kind, and the statistics of its features.

    Attributes:
        width: Entries per sample of the activation, before it was reduced to d features.
        weight: (W, b), with b as last column: (k, c, d + 1).
        velocity: V: (k, c, d + 1).
        mean: (d).
        variance: (d).
        batches: How many batches it has learnt from: ().
    """

    width: int
    weight: Tensor
    velocity: Tensor
    mean: Tensor
    variance: Tensor
    batches: Tensor

    @classmethod
    def untrained(cls, width: int, shape: tuple[int, int, int], device: torch.device) -> "OnlineProbe":
        """A probe of zeros.

        Args:
            width: Of the activation.
            shape: k, c and d.
            device: Where it lives.
        """
        *outputs, d = shape
        shapes = [[*outputs, d + 1], [*outputs, d + 1], [d], [d], []]
        return cls(width, *(torch.zeros(sizes, dtype=torch.float32, device=device) for sizes in shapes))

    def sums(self, features: Tensor, labels: Tensor, learn: bool) -> Tensor:
        """What a batch says, as sums over its rows.

        Args:
            features: (n, d).
            labels: (k, n); rows whose label is not in [0, c) are left out.
            learn: Whether all that `step` needs is wanted.

        Returns:
            Correct answers, loss in nats and rows not left out (k each); with `learn` also n, the sums of
            activation - mean and its square (d each), and n G without the penalty (k c (d + 1)).
        """
        classes, scale = self.weight.shape[1], self._scale()
        centred = features.to(self.weight) - self.mean
        log_p = (self.weight[..., :-1] * scale @ centred.T + self.weight[..., -1:]).log_softmax(1)  # (k, c, n)
        label = torch.arange(classes, device=labels.device)[:, None] == labels[:, None]
        counted = label.any(1)
        correct, loss = log_p.argmax(1) == labels, -torch.where(label, log_p, 0.0).sum((1, 2))
        scores = torch.cat([correct.sum(1), loss, counted.sum(1)])
        if not learn:
            return scores
        residual = (log_p.exp() - label.float()) * counted[:, None]
        gradient = torch.cat([residual @ centred * scale, residual.sum(2, keepdim=True)], 2)
        rows = loss.new_full((1,), len(features))
        return torch.cat([scores, rows, centred.sum(0), centred.square().sum(0), gradient.flatten()])

    def step(self, sums: Tensor, learning_rate: float, momentum: float, ridge: float) -> None:
        """Take a step of SGD, and the batch into the statistics; a batch without rows changes nothing.

        Args:
            sums: Of `sums`, over all processes.
            learning_rate: Share of the step 1 / (L + ridge).
            momentum: Share of the last velocity that is kept.
            ridge: Strength of the penalty.
        """
        k, d = len(self.weight), len(self.mean)
        _, counted, rows, first, second, gradient = sums.split([2 * k, k, 1, d, d, self.weight.numel()])
        used, rows = rows > 0, rows.clamp(min=1)
        penalty = torch.cat([ridge * self.weight[..., :-1], torch.zeros_like(self.weight[..., -1:])], 2)
        gradient = gradient.view_as(self.weight) / counted.clamp(min=1)[:, None, None] + penalty
        curvature = (1 + (second * self._scale().square()).sum() / rows) / 2
        velocity = momentum * self.velocity - learning_rate / (curvature + ridge) * gradient
        self.velocity = torch.where(used, velocity, self.velocity)
        self.weight = torch.where(used, self.weight + velocity, self.weight)
        self.batches = self.batches + used[0]
        share = used / self.batches.clamp(1, MEMORY)
        shift = share * first / rows
        self.mean = self.mean + shift
        self.variance = (torch.lerp(self.variance, second / rows, share) - shift.square()).clamp(min=0)

    def _scale(self) -> Tensor:
        """One over the deviation; 0 for a constant feature, which so carries nothing."""
        deviation, kind = self.variance.sqrt(), torch.finfo(self.variance.dtype)
        rounding = 8 * kind.eps * self.mean.abs() + kind.tiny**0.5
        return torch.where(deviation > rounding, 1 / deviation, 0.0)
