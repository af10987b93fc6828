"""Every test begins alike, whichever tests the process has run before: with the same random numbers, able to fork."""

import gc
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

gc.disable()  # until all tests are collected: imports and parametrisations leave little that could be freed

# At the first backward pass autograd starts a thread for every device it sees, and forbids to fork from then on. Fake
# tensors show it one that is not there: so let it look now.
torch.zeros((), requires_grad=True).backward()


# where shapes are checked at every call (see pyproject.toml); in a run with probes that would take half of the time
CHECKED = [Path(__file__).with_name(folder) for folder in ("probes", "datamodules")]


def pytest_collection_finish() -> None:
    """Memory is cleared again."""
    gc.enable()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)  # torch.manual_seed looks for devices, a third of a millisecond each time
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures, of which some are made once for a file."""
    checked = any(map(item.path.is_relative_to, CHECKED)) and not item.get_closest_marker("unchecked")
    jaxtyping.config.update("jaxtyping_disable", not checked)
    os.environ.pop("PL_GLOBAL_SEED", None)  # the seed of a run that another test has begun
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """And after them."""
    _seed()


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of probes are a pixel in this test."""
    from tests.pictures import draw_nothing  # which imports Lightning

    draw_nothing(monkeypatch.setattr)


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> Iterator[None]:
    """What is the same in every command is made once, where tests are of commands."""
    with pytest.MonkeyPatch.context() as patch:
        if "stratoscope.fit.command" in sys.modules:
            from tests.made_once import share

            share(patch.setattr)
        yield
