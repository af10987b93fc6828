"""Tests of probes/checks.py."""

import jaxtyping
import pytest
import torch
from torch import Tensor

from stratoscope.probes.checks import LARGE, SMALL, check_features, check_labels
from stratoscope.probes.reading.centring import Centred


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(0, 3), r"inputs are empty: shape \(0, 3\)"),
        (torch.zeros(3, 0), r"inputs are empty: shape \(3, 0\)"),
        (torch.tensor([[1.0, torch.inf]]), "inputs contain NaN or infinity"),
        (torch.tensor([[1.0], [torch.nan]], dtype=torch.float64), "inputs contain NaN or infinity"),
        (torch.full((2, 2), 2 * LARGE, dtype=torch.float64), "inputs must be between 1e-70 and 1e[+]70 in size.*scale"),
        (torch.full((2, 2), SMALL / 2, dtype=torch.float64), "inputs must be between 1e-70 and 1e[+]70 in size"),
    ],
)
def test_features_that_say_nothing_or_nonsense_are_refused(features: Tensor, message: str) -> None:
    """By the name that they are given."""
    with pytest.raises(ValueError, match=message):
        check_features(features, "inputs")


@pytest.mark.parametrize("size", [0.0, SMALL, 1.0, LARGE])
def test_features_of_a_size_whose_squares_are_numbers_are_taken(size: float) -> None:
    """And zeros."""
    check_features(torch.tensor([[0.0], [-size]], dtype=torch.float64))


def test_where_no_squares_are_taken_the_size_does_not_matter() -> None:
    """But they are still finite."""
    check_features(torch.full((2, 2), 2 * LARGE, dtype=torch.float64), any_size=True)
    with pytest.raises(ValueError, match="NaN or infinity"):
        check_features(torch.full((2, 2), torch.inf), any_size=True)


@pytest.mark.parametrize(("labels", "range_"), [([0, 4], "0 to 4"), ([-1, 1], "-1 to 1")])
def test_labels_that_are_no_classes_are_refused(labels: list[int], range_: str) -> None:
    """From 0 to one below the number of classes they are taken."""
    with pytest.raises(ValueError, match=rf"given labels must be in \[0, 4\), got {range_}"):
        check_labels(torch.tensor([labels]), 4, "given labels")
    check_labels(torch.tensor([[0, 3], [1, 2]]), 4)


def test_shapes_are_checked_in_these_tests() -> None:
    """As pyproject.toml and tests/conftest.py say: a mistake in a shape is seen where it is made."""
    with pytest.raises(jaxtyping.TypeCheckError):
        Centred.of(torch.zeros(3))
