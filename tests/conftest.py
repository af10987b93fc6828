"""Every test begins alike, whichever tests the process has run before: with the same random numbers, able to fork."""

import os
import random

import numpy as np
import pytest
import torch

# At the first backward pass autograd starts a thread for every device it sees, and forbids to fork from then on. Fake
# tensors show it one that is not there: so let it look now.
torch.zeros((), requires_grad=True).backward()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures, of which some are made once for a file."""
    os.environ.pop("PL_GLOBAL_SEED", None)  # the seed of a run that another test has begun
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """And after them."""
    _seed()


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of probes are empty files in this test."""
    from tests.pictures import draw_nothing  # which imports Lightning

    draw_nothing(monkeypatch.setattr)
