"""Every test begins alike, whichever tests the process has run before: with the same random numbers, able to fork."""

import os
import random
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

# At the first backward pass autograd starts a thread for every device it sees, and forbids to fork from then on. Fake
# tensors show it one that is not there: so let it look now.
torch.zeros((), requires_grad=True).backward()


# where shapes are checked at every call (see pyproject.toml); in a run with probes that would take half of the time
CHECKED = [Path(__file__).with_name(folder) for folder in ("probes", "datamodules")]


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures, of which some are made once for a file."""
    jaxtyping.config.update("jaxtyping_disable", not any(map(item.path.is_relative_to, CHECKED)))
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
