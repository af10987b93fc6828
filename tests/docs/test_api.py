"""Tests of docs/_ext/api.py."""

import re
from importlib import import_module

import pytest

from docs._ext.api import LOADING, PACKAGES, api, homes, linked_name, loading

NAMED = r"^`+\{py:(?:class|function|data)\} (\w+)"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_the_page_of_its_package(package: str) -> None:
    """Once; and nothing else is."""
    found = re.findall(NAMED, api(package), re.MULTILINE)
    assert sorted(found) == sorted(import_module(f"stratoscope.{package}").__all__)


def test_what_reads_runs_is_there() -> None:
    """All that `stratoscope.results` offers."""
    found = re.findall(NAMED, loading(), re.MULTILINE)
    assert sorted(found) == sorted(import_module("stratoscope.results").__all__)
    assert set(found) == {*LOADING, "load_runs"}


def test_every_name_can_be_imported_from_where_it_is_said_to_be() -> None:
    """So that a link, and an import copied from a page, leads there."""
    for name, home in homes().items():
        assert hasattr(import_module(home), name), name
    assert linked_name("wilson") == "{py:obj}`~stratoscope.probes.wilson`"
    assert linked_name("nobody") is None


def test_signatures_are_those_of_the_source() -> None:
    """With shapes, defaults and what is returned; without self; of data classes their fields."""
    page = api("probes")
    assert "{py:function} wilson(correct: int, count: int, z: float=Z95) -> tuple[float, float]" in page
    assert "{py:function} effective_rank(variances: Float[Tensor, ' r']) -> float" in page
    assert "{py:class} NeuralCollapse(nc1: float, nc2_norms: float," in page
    assert "(self" not in page
    assert "(cls" not in page
