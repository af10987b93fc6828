"""How often the nearest training samples have a sample's label: what a layer's distances know, without any fit.

*Method.* Distances are |a - b|^2 = |a|^2 - 2a'b + |b|^2 over features less the training mean, which keeps the terms,
and so their rounding, small: some 1e-7 (|a|^2 + |b|^2), with norms in float64 and products in float32. They choose
k + SPARE candidates, whose distances are computed again, from differences in float64. So the k nearest are exact unless
more than SPARE other rows lie within the rounding of the first step, or torch has been told to multiply float32 in a
lower precision (`set_float32_matmul_precision`).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stratoscope.probes.checks import check_features, check_labels
from stratoscope.probes.giving_up import go_on

SPARE = 16  # candidates beyond k
ROWS = 1024  # rows of either set at a time, at most
ENTRIES = 2**22  # and entries of float64 (32 MB)
LAST = 2**63 - 1  # a key after all others


def neighbour_accuracy(
    train: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"],
    classes: int,
    k: int = 20,
    cosine: bool = False,
) -> tuple[int, int]:
    """Count the test samples that the majority of their k nearest training samples classifies correctly.

    Of classes with equally many votes the one with the nearest voter wins; of training samples equally far away the
    first in order counts as nearer. A sample that is in both sets is its own nearest neighbour.

    Args:
        train: Features of the training set, in any floating-point type. Distances are between features as given:
            standardise them first where their scales should not matter.
        train_labels: Labels that vote, in [0, classes).
        test: Features of the set to classify.
        test_labels: Labels it is scored against, in [0, classes).
        classes: Number of classes.
        k: Number of neighbours, in [1, n].
        cosine: Whether to compare by the angle between features instead of their Euclidean distance. A sample whose
            features are all 0 is at right angles with every other but those like it.

    Returns:
        Samples classified correctly, and samples: what `wilson` takes.

    Raises:
        ValueError: If k or a label is out of range, or features are empty or not finite.

    Source: Cover & Hart 1967, IEEE Trans. Inf. Theory 13:21-27; on frozen features of networks, Wu et al. 2018, section
    3.4, there with weighted votes.
    """
    for name, features, labels in (("training", train, train_labels), ("test", test, test_labels)):
        check_features(features, f"{name} features", any_size=cosine)
        check_labels(labels, classes, f"{name} labels")
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be in [1, {len(train)}], the number of training samples, got {k}")
    candidates = _candidates(train, test, min(k + SPARE, len(train)), cosine)
    correct = torch.zeros((), dtype=torch.long, device=test.device)
    size = max(1, ENTRIES // (candidates.shape[1] * train.shape[1] + classes))
    for near, rows, labels in zip(candidates.split(size), test.split(size), test_labels.split(size), strict=True):
        go_on()
        votes = train_labels.long()[_nearest(train, near, rows, k, cosine)]
        tally = votes.new_zeros(len(votes), classes).scatter_add_(1, votes, torch.ones_like(votes))
        # argmax gives the first, so nearest, of the voters for a class with the most votes
        decision = votes.gather(1, tally.gather(1, votes).argmax(1, keepdim=True))[:, 0]
        correct += (decision == labels).sum()
    return int(correct), len(test)


def _blocks(features: Tensor) -> Iterator[tuple[slice, Tensor]]:
    size = min(ROWS, max(1, ENTRIES // features.shape[1]))
    for start in range(0, len(features), size):
        place = slice(start, start + size)
        yield place, features[place]


def _points(features: Float[Tensor, "r d"], cosine: bool) -> Float[Tensor, "r e"]:
    """Points in float64 whose Euclidean distances are those asked for."""
    points = features.double()
    if not cosine:
        return points
    points = points / points.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    norm = points.norm(dim=1, keepdim=True)
    return torch.cat([points / norm.clamp(min=1), norm == 0], dim=1)  # a direction of its own for what has none


def _candidates(train: Tensor, test: Tensor, count: int, cosine: bool) -> Int[Tensor, "m count"]:
    """The training rows nearest to each test row by distances in float32, in their own order."""
    centre = torch.stack([_points(rows, cosine).sum(0) for _, rows in _blocks(train)]).sum(0) / len(train)
    # float32 squares neither overflow nor vanish once the largest entry is 1
    scale = torch.stack([(_points(rows, cosine) - centre).abs().max() for _, rows in _blocks(train)]).max()
    scale = torch.where(scale > 0, scale, 1.0)
    # A key is the bits of a distance, which as a number above 0 sorts like them, and then the row: ties go by row.
    keys = torch.full((len(test), count), LAST, device=test.device)
    for place, rows in _blocks(train):
        go_on()
        b = (_points(rows, cosine) - centre) / scale
        index = torch.arange(len(train), device=train.device)[place]
        for where, others in _blocks(test):
            a = (_points(others, cosine) - centre) / scale
            squares = torch.addmm(b.square().sum(1).float(), a.float(), b.float().T, alpha=-2)
            squares.add_(a.square().sum(1, keepdim=True).float()).clamp_(min=0)
            key = squares.view(torch.int32).long().bitwise_left_shift_(32).bitwise_or_(index)
            keys[where] = torch.cat([keys[where], key], dim=1).topk(count, largest=False, sorted=False).values
    return keys.bitwise_and_(2**32 - 1).sort(dim=1).values


def _nearest(train: Tensor, candidates: Tensor, test: Tensor, k: int, cosine: bool) -> Int[Tensor, "r k"]:
    """The k candidates nearest to each test row, nearest first."""
    b = _points(train[candidates.flatten()], cosine).unflatten(0, candidates.shape)
    squares = (b - _points(test, cosine)[:, None]).square().sum(2)
    return candidates.gather(1, squares.sort(dim=1, stable=True).indices[:, :k])
