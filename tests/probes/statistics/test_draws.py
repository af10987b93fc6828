"""Tests of probes/statistics/draws.py."""

import numpy as np
import pytest
from scipy.stats import kstest

from stratoscope.probes.statistics.draws import normal, uniform


def test_draws_never_change() -> None:
    """The first of them, written down."""
    assert uniform(np.random.PCG64(0), 3).tolist() == pytest.approx([0.6369616873, 0.2697867138, 0.0409735239])
    assert normal(np.random.PCG64(0), 2).tolist() == pytest.approx(
        [
            0.3503492272,
            -0.6134606,
        ],
        abs=1e-3,
    )


def test_draws_have_their_distribution() -> None:
    """None is 0 or 1."""
    found = uniform(np.random.PCG64(1), 20_000)
    assert 0 < found.min() < found.max() < 1
    assert kstest(found, "uniform").pvalue > 0.01
    assert kstest(normal(np.random.PCG64(2), 20_000), "norm").pvalue > 0.01
