"""Tests of probes/landscape/paths.py: where the points are, and directions as long as the filters."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from stratoscope.probes.landscape.parameters import FlatParameters
from stratoscope.probes.landscape.paths import (
    KINDS,
    curved,
    filter_normalised,
    plane,
    quadrilateral,
    straight,
    triangle,
)


def test_the_published_path_has_25_points() -> None:
    """Keskar et al. 2017: 25 from -1 to 2, both ends among them."""
    places = straight(25, -1.0, 2.0)
    assert len(places) == 25
    assert [place.alpha for place in places if place.end is not None] == [0.0, 1.0]
    assert [place.alpha for place in places] == pytest.approx(torch.linspace(-1, 2, 25).tolist())
    assert [place.alpha for place in places if place.line] == pytest.approx([k / 8 for k in range(9)])


@pytest.mark.parametrize(("points", "low", "high"), [(4, -1.0, 2.0), (7, -0.3, 1.7), (2, -1.0, 2.0), (10, 0.0, 1.0)])
def test_ends_are_always_among_the_points(points: int, low: float, high: float) -> None:
    """In order, and none twice."""
    for make in (straight, curved):
        places = make(points, low, high)
        alphas = [place.alpha for place in places]
        assert alphas == sorted(set(alphas))
        assert {place.end for place in places} >= {0, 1}
        assert min(b - a for a, b in pairwise(alphas)) > 1e-6


def test_a_path_beyond_both_ends_has_them_too() -> None:
    """As losses are compared with theirs."""
    assert [place.alpha for place in straight(3, 1.2, 2.0)] == pytest.approx([0, 1, 1.2, 1.6, 2.0])
    assert [place.alpha for place in curved(2, 0.25, 0.75)] == pytest.approx([0, 0.25, 0.75, 1])


def test_the_curved_path_is_a_quarter_of_a_circle() -> None:
    """Cos and sin, with exact ends."""
    for place in curved(9, -1.0, 2.0):
        angle = place.alpha * math.pi / 2
        assert place.weights == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-15)
    assert [place.weights for place in curved(2, 0.0, 1.0)] == [(1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize("points", [2, 3, 8])
def test_triangle_and_quadrilateral_have_their_corners(points: int) -> None:
    """Each once; weights sum to 1 and are not negative; the line is that of the weights."""
    for make, ends in ((triangle, 3), (quadrilateral, 4)):
        places = make(points)
        assert sorted(place.end for place in places if place.end is not None) == list(range(ends))
        assert all(min(place.weights) >= 0 and sum(place.weights) == pytest.approx(1) for place in places)
        assert all(place.line == place.weights for place in places)
    assert len(triangle(points)) == points * (points + 1) // 2
    corner = {place.end: (place.alpha, place.beta) for place in quadrilateral(points) if place.end is not None}
    assert corner == {0: (0, 0), 1: (1, 0), 2: (1, 1), 3: (0, 1)}


@pytest.mark.parametrize("points", [4, 5])
def test_a_plane_has_its_centre(points: int) -> None:
    """Also where the grid has not."""
    places = plane(points, -1.0, 1.0)
    assert [place.end for place in places].count(0) == 1
    assert len(places) == points * points + (points == 4)
    assert not any(place.line for place in places)


def test_every_kind_has_as_many_ends_as_it_says() -> None:
    """A plane has two directions besides."""
    for name, kind in KINDS.items():
        lengths = {len(place.weights) for place in kind.places(3, *kind.span)}
        assert lengths == {kind.ends + 2 * (name == "plane")}


def test_directions_have_the_length_of_the_filters() -> None:
    """Li et al. 2018: filter by filter; biases and normalisations have none."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network.get_parameter("0.weight")[1] = 0  # a filter of zeros has a direction of zeros
    flat = FlatParameters(network)
    direction = filter_normalised(flat, seed=3)
    for name, one in flat.named.items():
        start, end = flat.places[name]
        part = direction[start:end]
        if one.ndim == 1:
            assert not part.any()
        else:
            lengths = one.detach().flatten(1).norm(dim=1)
            torch.testing.assert_close(part.view(len(one), -1).norm(dim=1), lengths)
    assert torch.equal(direction, filter_normalised(flat, seed=3))
    assert not torch.equal(direction, filter_normalised(flat, seed=4))
    other = filter_normalised(flat, seed=4)
    assert abs(float(direction @ other)) < 0.5 * float(direction.norm() * other.norm())
