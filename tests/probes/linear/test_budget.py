"""Tests of probes/linear/budget.py."""

import pytest

from stratoscope.probes.linear.budget import GIB, Budget
from stratoscope.probes.linear.logistic import working_memory

WIDTHS = {"input": 1000, "conv": 1000, "fc": 100, "logits": 10}
FITTED, SAMPLES = 50_000, 60_000


def test_without_a_bound_all_is_kept_in_memory() -> None:
    """The default."""
    assert Budget(None, 1, 2, 10).in_files(WIDTHS, FITTED, SAMPLES) == set()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_is_kept_in_memory_fits(ranks: int) -> None:
    """Shares of the layers, one whole layer where several processes share, and the work of fitting; in order."""
    work = max(working_memory(FITTED, width, 4, 10) for width in WIDTHS.values())
    kept_before = -1
    for tenths in range(0, 12):
        memory = work + tenths * 0.1 * 4 * SAMPLES * sum(WIDTHS.values())
        kept = WIDTHS.keys() - Budget(memory, ranks, 4, 10).in_files(WIDTHS, FITTED, SAMPLES)
        shares = sum(4 * -(-SAMPLES // ranks) * WIDTHS[layer] for layer in kept)
        whole = max((4 * SAMPLES * WIDTHS[layer] for layer in kept), default=0) if ranks > 1 else 0
        assert work + shares + whole <= memory
        assert len(kept) >= kept_before
        kept_before = len(kept)
    assert kept_before == len(WIDTHS) or ranks > 1


def test_too_little_to_fit_at_all_is_refused() -> None:
    """The error says how much is needed."""
    with pytest.raises(ValueError, match=r"memory of 0.01 GiB is too little: fitting alone takes 0.\d\d GiB"):
        Budget(0.01 * GIB, 1, 2, 10).in_files(WIDTHS, FITTED, SAMPLES)


def test_narrow_layers_are_kept_beside_a_wide_one_in_a_file() -> None:
    """A layer that does not fit leaves its room to those after it; in half precision it takes half and fits too."""
    work = working_memory(FITTED, 1000, 4, 10)
    layers = {"small": 10, "wide": 1000, "last": 10}
    memory = work + 4.0 * SAMPLES * 520
    assert Budget(memory, 1, 4, 10).in_files(layers, FITTED, SAMPLES) == {"wide"}
    assert Budget(memory, 1, 4, 10).in_files(layers, FITTED, SAMPLES, itemsize=2) == set()
