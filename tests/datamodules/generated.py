"""Small data sets made by whole-number arithmetic, and whether two are equal."""

import torch

from stratoscope.datamodules import Batch, Sets, labelled


def generated(train: int = 40, test: int = 12, shape: tuple[int, int, int] = (3, 6, 5)) -> Sets:
    """A set made by whole-number arithmetic alone, in which no two images are equal."""

    def part(n: int, shift: int) -> Batch:
        entry = torch.arange(n * shape[0] * shape[1] * shape[2]) + shift
        image = ((entry * entry * 7 + entry * 31) // 13 % 256).to(torch.uint8).view(n, *shape)
        return labelled(image, (torch.arange(n) * 7 + shift) % 10)

    return {"train": part(train, 0), "test": part(test, 10_007)}


def equal(one: Sets, other: Sets) -> bool:
    """Whether two data sets have the same names, in one order, and are the same in every bit."""
    pairs = zip(one.values(), other.values(), strict=True)
    return list(one) == list(other) and all(torch.equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))
