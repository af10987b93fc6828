"""Control tasks: labels that a layer cannot know tell what a probe found in it from what it memorised."""

import zlib
from collections.abc import Sequence
from math import isfinite

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def control_labels(n: int, frequencies: Sequence[int | float], seed: int) -> Int[Tensor, " n"]:
    """Draw a random label for each of n inputs, once and for all: the control task of a classification.

    A control task has the inputs and the frequencies of classes of the real one, but the label of an input says nothing
    about it. Hewitt & Liang draw it for each type of word, so that the same types come again in the test set; an image
    comes once, so the accuracy of a probe on its control task is to be read on the inputs it was fitted to: on new ones
    it is chance.

    The label of an input depends on its place, the seed and the frequencies alone, not on n. Labels are made from raw
    bits of PCG64, which NumPy guarantees never to change.

    Args:
        n: Number of inputs.
        frequencies: Frequency of each class, or its count of samples: from 0, not all 0.
        seed: Any integer from 0. The stream is not one of those that corrupt data with the same seed.

    Returns:
        Labels in [0, len(frequencies)), int64.

    Raises:
        ValueError: If n or the seed is negative, or the frequencies are negative, not finite or all 0.

    Source: Hewitt & Liang 2019, EMNLP, section 2.
    """
    if n < 0 or seed < 0:
        raise ValueError(f"number of inputs and seed must not be negative, got {n} and {seed}")
    if not all(isfinite(f) and f >= 0 for f in frequencies) or not any(frequencies):
        raise ValueError(f"frequencies must be finite, from 0 and not all 0, got {list(frequencies)}")
    stream = np.random.SeedSequence([seed, zlib.crc32(b"control labels")])
    bits = np.random.PCG64(stream).random_raw(n)
    uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    ends = np.cumsum(np.asarray(frequencies, dtype=np.float64))
    return torch.from_numpy(np.searchsorted(ends / ends[-1], uniform, side="right").astype(np.int64))


def selectivity(accuracy: float, control_accuracy: float) -> float:
    """Accuracy of a probe less that of an equal probe on the control task: what does not come of its capacity alone.

    Args:
        accuracy: Share of inputs classified correctly in the real task, in [0, 1].
        control_accuracy: The same in the control task, on the same inputs.

    Returns:
        The difference, in [-1, 1].

    Raises:
        ValueError: If an accuracy is not in [0, 1].

    Source: Hewitt & Liang 2019, EMNLP, section 2.
    """
    if not (0 <= accuracy <= 1 and 0 <= control_accuracy <= 1):
        raise ValueError(f"accuracies must be in [0, 1], got {accuracy} and {control_accuracy}")
    return accuracy - control_accuracy
