"""Neural collapse: how far the classes of one layer have shrunk to the corners of a simplex."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stratoscope.probes.reading.centring import Centred


@dataclass(frozen=True)
class NeuralCollapse:
    """Distances from neural collapse: all are 0 when it is complete.

    Attributes:
        nc1: Variability within classes against that between them, tr(S_W S_B^+) / C.
        nc2_norms: Spread of the norms of the centred class means: their standard deviation over their mean.
        nc2_angles: Distance of the centred class means from equal and largest angles, the mean over pairs of classes of
            |cos + 1/(C - 1)|.
        nc3: Distance of the classifier from its own class means, |W/|W| - M/|M||, in [0, 2]; None without classifier.
        nc4: Share of samples that the network classifies otherwise than the nearest class mean does, in [0, 1]; None
            without logits.
    """

    nc1: float
    nc2_norms: float
    nc2_angles: float
    nc3: float | None
    nc4: float | None


def neural_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    weight: Float[Tensor, "c d"] | None = None,
    logits: Float[Tensor, "n c"] | None = None,
) -> NeuralCollapse:
    """Measure NC1 to NC4, in float64.

    With mu_c the mean of class c, mu the mean of the C class means, and M the centred means mu_c - mu as rows,

        S_W = Ave_c Ave_{i in c} (x_i - mu_c)(x_i - mu_c)',    S_B = Ave_c (mu_c - mu)(mu_c - mu)' = M'M / C.

    Every class counts alike; the paper has equally many samples in each, where this makes no difference. With the
    singular values s_r and right vectors v_r of M, S_B^+ = C sum_r v_r v_r' / s_r^2, so no matrix (d, d) is needed.
    With two classes NC2 is 0 whatever the features.

    Args:
        features: One row per sample; in the paper, of the training set in the last hidden layer.
        labels: Labels in [0, classes), each of which must occur.
        classes: Number of classes C, at least 2.
        weight: Weights W of the classifier on these features, one row per class, as in `nn.Linear`.
        logits: What the network answers on these samples.

    Returns:
        The four measurements.

    Raises:
        ValueError: If there are fewer than 2 classes, a class has no sample, a label is out of range, all class means
            coincide, or an argument is empty, not finite or of another number of classes.

    Source: Papyan, Han & Donoho 2020, PNAS 117:24652-24663; NC1 as in figure 6, NC2 as in figures 2 and 4, NC3 as in
    figure 5 (not squared), NC4 as in figure 7.
    """
    x = Centred.of(features)
    counts = _counts(labels, classes)
    _check("weight", weight, (classes, features.shape[1]))
    _check("logits", logits, (len(features), classes))
    labels = labels.long()

    means = torch.zeros(classes, features.shape[1], dtype=torch.float64, device=features.device)
    squares = 0.0
    for rows, own in zip(x.rows(), labels.split(x.size), strict=True):
        squares += float(rows.square().sum())
        means += functional.one_hot(own, classes).double().T @ rows
    means /= counts[:, None]  # all less the mean of the features, which changes nothing below
    centred = means - means.mean(0)
    _, s, v = torch.linalg.svd(centred, full_matrices=False)
    rounding = torch.finfo(torch.float64).eps * max(centred.shape)
    if x.constant() or float(s[0]) <= rounding * sqrt(squares / len(features)):
        raise ValueError("all class means coincide: neural collapse is not defined")

    kept = (s > rounding * s[0]) & (torch.arange(len(s), device=s.device) < classes - 1)  # the rows of M sum to 0
    projection = v[kept].T / s[kept]  # S_B^+ = C projection projection'
    within = torch.zeros_like(counts)
    for rows, own in zip(x.rows(), labels.split(x.size), strict=True):
        within += functional.one_hot(own, classes).double().T @ ((rows - means[own]) @ projection).square().sum(1)
    norms = centred.norm(dim=1)
    return NeuralCollapse(
        nc1=float((within / counts).mean()),
        nc2_norms=float(norms.std(correction=0) / norms.mean()),
        nc2_angles=_angles(centred / s[0]),
        nc3=None if weight is None else float((_unit(weight.double()) - _unit(centred)).norm()),
        nc4=None if logits is None else _disagreement(x, means, logits),
    )


def _counts(labels: Tensor, classes: int) -> Float[Tensor, " c"]:
    if classes < 2:
        raise ValueError(f"neural collapse needs at least 2 classes, got {classes}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"labels must be in [0, {classes}), got {int(labels.min())} to {int(labels.max())}")
    counts = torch.bincount(labels, minlength=classes)
    if missing := (counts == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {', '.join(map(str, missing))} have no sample: their means are not defined")
    return counts.double()


def _check(name: str, given: Tensor | None, shape: tuple[int, int]) -> None:
    if given is None:
        return
    if given.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(given.shape)}")
    if not bool(torch.isfinite(given).all()):
        raise ValueError(f"{name} contain NaN or infinity")
    if name == "weight" and not bool(given.any()):
        raise ValueError("weight is all 0: it has no direction to compare with the class means")


def _unit(matrix: Float[Tensor, "c d"]) -> Float[Tensor, "c d"]:
    return matrix / matrix.square().sum().sqrt()


def _angles(centred: Float[Tensor, "c d"]) -> float:
    """Mean of |cos + 1/(C - 1)| over the pairs of class means; one that is 0 is at right angles with all."""
    directions = functional.normalize(centred, dim=1)
    first, second = torch.triu_indices(len(centred), len(centred), offset=1, device=centred.device)
    cosines = (directions @ directions.T)[first, second]
    return float((cosines + 1 / (len(centred) - 1)).abs().mean())


def _disagreement(x: Centred, means: Float[Tensor, "c d"], logits: Float[Tensor, "n c"]) -> float:
    """Share of rows whose largest logit is not that of the nearest mean."""
    different = 0
    for rows, answers in zip(x.rows(), logits.split(x.size), strict=True):
        nearest = (means.square().sum(1) - 2 * rows @ means.T).argmin(1)
        different += int((nearest != answers.argmax(1)).sum())
    return different / len(logits)


def classifier_weights(
    module: nn.Module, forward: Callable[[Tensor], Any], image: Tensor, features: Mapping[str, Tensor]
) -> dict[str, Float[Tensor, "c d"]]:
    """The weights of the network's classifier, its last linear layer, for the layers that are its input.

    Args:
        module: The network, frozen.
        forward: Runs the network on a batch of images.
        image: A batch, (n, ...).
        features: By layer, what it gives for that batch, in full: (n, d).

    Returns:
        The weights by layer; none if no layer is the input of the last linear layer that ran.
    """
    seen: list[tuple[nn.Linear, Tensor]] = []

    def note(part: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
        seen.append((part, inputs[0].clone()))  # what follows may overwrite it

    handles = [part.register_forward_pre_hook(note) for part in module.modules() if isinstance(part, nn.Linear)]
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled network would not call the hooks
            forward(image.clone())  # it may overwrite it
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        return {}
    last, entered = seen[-1]
    return {
        layer: last.weight.detach()
        for layer, rows in features.items()
        if rows.shape == entered.shape and torch.equal(rows, entered.to(rows))
    }
