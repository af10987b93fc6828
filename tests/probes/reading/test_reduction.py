"""Tests of probes/reading/reduction.py."""

import pickle
import sys
from math import ceil, floor

import pytest
import torch
from torch import Tensor

from stratoscope.probes.reading.layout import Layout
from stratoscope.probes.reading.reduction import (
    AveragePool,
    ChannelMeans,
    FeatureSubset,
    FirstToken,
    Flatten,
    RandomProjection,
    Reduction,
    TokenMean,
    average_pool,
    by_layer,
    reduction,
)
from stratoscope.probes.reading.taps import Tap

NAMES = [
    "none",
    "average_pool",
    "channel_means",
    "token_mean",
    "cls",
    "feature_subset",
    "random_projection",
]


def _activation(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_map_is_averaged_over_blocks() -> None:
    """64 channels of 8 x 8 at width 1,024 become the 4 x 4 means of 2 x 2 blocks."""
    activation = _activation(3, 64, 8, 8)
    blocks = activation.view(3, 64, 4, 2, 4, 2).mean((3, 5))
    torch.testing.assert_close(average_pool(activation, 1024), blocks.reshape(3, 1024))


def test_map_that_does_not_divide_is_averaged_over_overlapping_blocks() -> None:
    """64 channels of 14 x 14 at width 1,024 become 4 x 4 means over rows floor(14 i / 4) to ceil(14 (i + 1) / 4)."""
    activation = _activation(2, 64, 14, 14)
    bins = [slice(floor(14 * i / 4), ceil(14 * (i + 1) / 4)) for i in range(4)]
    expected = torch.stack([activation[:, :, rows, columns].mean((2, 3)) for rows in bins for columns in bins], 2)
    features = average_pool(activation, 1024)
    assert features.shape == (2, 64 * 4 * 4)
    torch.testing.assert_close(features, expected.flatten(1))


def test_grid_is_the_finest_square_that_fits() -> None:
    """At width 100, 4 channels get 5 x 5 means each; at width 99, 4 x 4."""
    activation = _activation(2, 4, 20, 20)
    torch.testing.assert_close(average_pool(activation, 100), activation.view(2, 4, 5, 4, 5, 4).mean((3, 5)).flatten(1))
    torch.testing.assert_close(average_pool(activation, 99), activation.view(2, 4, 4, 5, 4, 5).mean((3, 5)).flatten(1))


def test_flat_map_keeps_its_short_side() -> None:
    """A map one pixel high is averaged along its other side only."""
    activation = _activation(2, 4, 1, 16)
    torch.testing.assert_close(average_pool(activation, 16), activation.view(2, 4, 2, 8).mean(3).flatten(1))


def test_more_channels_than_width_averages_neighbouring_entries() -> None:
    """16 channels of 3 x 3 at width 8 become 8 means of 18 neighbours."""
    activation = _activation(2, 16, 3, 3)
    torch.testing.assert_close(average_pool(activation, 8), activation.reshape(2, 8, 18).mean(2))


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 2, 1, 2, 3)])
def test_vectors_and_sequences_average_neighbouring_entries(shape: tuple[int, ...]) -> None:
    """Anything but a feature map is averaged over neighbours of the flattened activation."""
    activation = _activation(*shape)
    torch.testing.assert_close(average_pool(activation, 4), activation.reshape(5, 4, 3).mean(2))


@pytest.mark.parametrize("width", [None, 54, 1000])
@pytest.mark.parametrize("shape", [(4, 54), (4, 6, 3, 3), (4, 6, 9)])
def test_activation_that_fits_is_kept_whole(shape: tuple[int, ...], width: int | None) -> None:
    """An activation with at most `width` entries, or without limit, is only flattened."""
    activation = _activation(*shape)
    assert torch.equal(average_pool(activation, width), activation.reshape(4, 54))


@pytest.mark.parametrize("shape", [(3, 7), (3, 1001), (3, 5, 11, 13), (3, 40, 7, 7), (3, 1, 30, 2), (3, 11, 9)])
@pytest.mark.parametrize("width", [1, 5, 7, 33, 64])
def test_features_are_never_more_than_width(shape: tuple[int, ...], width: int) -> None:
    """Whatever the shape, there are between 1 and `width` features, and a constant activation stays that constant."""
    features = average_pool(torch.full(shape, 2.5), width)
    assert len(features) == 3
    assert 1 <= features.shape[1] <= width
    torch.testing.assert_close(features, torch.full_like(features, 2.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [None, 6, 54])
@pytest.mark.parametrize("layout", ["vector", "map", "channels last", "transposed", "slice", "select"])
def test_features_outlive_the_activation(layout: str, width: int | None, dtype: torch.dtype) -> None:
    """Overwriting the activation in place, as a following in-place ReLU does, leaves the features alone."""
    activation = {
        "vector": _activation(4, 54).to(dtype),
        "map": _activation(4, 6, 3, 3).to(dtype),
        "channels last": _activation(4, 6, 3, 3).to(dtype, memory_format=torch.channels_last),
        "transposed": _activation(54, 4).to(dtype).T,
        "slice": _activation(4, 60).to(dtype)[:, 3:57],
        "select": _activation(4, 2, 54).to(dtype)[:, 1],
    }[layout]
    features = average_pool(activation, width)
    kept = features.clone()
    activation.fill_(float("nan"))
    assert bool(kept.isfinite().all())
    assert torch.equal(features, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize("shape", [(3, 64), (3, 1, 8, 8)])
def test_half_precision_is_averaged_in_float32(shape: tuple[int, ...], width: int | None, dtype: torch.dtype) -> None:
    """Features of half-precision activations are float32, and their means are not rounded to half precision."""
    activation = _activation(*shape).to(dtype)
    features = average_pool(activation, width)
    assert features.dtype == torch.float32
    assert torch.equal(features, average_pool(activation.float(), width))


def test_float64_stays_float64() -> None:
    """Features of float64 activations keep their precision."""
    activation = _activation(3, 12).double() / 3
    features = average_pool(activation, 4)
    torch.testing.assert_close(features, activation.view(3, 4, 3).mean(2), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", Flatten()),
        ("average_pool", AveragePool(8)),
        ("channel_means", ChannelMeans()),
        ("token_mean", TokenMean(8)),
        ("cls", FirstToken(8)),
        ("feature_subset", FeatureSubset(8, 3)),
        ("random_projection", RandomProjection(8, 3)),
    ],
)
def test_reduction_is_found_by_name(name: str, expected: Reduction) -> None:
    """Each name gives its reduction with width and seed, which survives pickling (to worker processes)."""
    found = reduction(name, 8, 3)
    assert found == expected
    assert pickle.loads(pickle.dumps(found)) == expected


def test_unknown_reduction_is_refused() -> None:
    """An unknown name is refused with the list of those there are."""
    with pytest.raises(ValueError, match=f"unknown reduction 'max_pool': choose one of {', '.join(NAMES)}$"):
        reduction("max_pool", 8)


@pytest.mark.parametrize("width", [0, -1])
@pytest.mark.parametrize("name", NAMES)
def test_impossible_width_is_refused(name: str, width: int) -> None:
    """A width below 1 is refused, naming it."""
    with pytest.raises(ValueError, match=f"width must be 1 or more, got {width}"):
        reduction(name, width)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("width", [None, 6, 54])
@pytest.mark.parametrize("layout", ["vector", "map", "single pixel", "channels last", "transposed", "slice"])
@pytest.mark.parametrize("name", NAMES)
def test_every_reduction_gives_new_features(name: str, layout: str, width: int | None, dtype: torch.dtype) -> None:
    """Whatever the activation, the features are contiguous float32 or float64 and no view of it."""
    activation = {
        "vector": _activation(4, 54).to(dtype),
        "map": _activation(4, 6, 3, 3).to(dtype),
        "single pixel": _activation(4, 54, 1, 1).to(dtype),
        "channels last": _activation(4, 6, 3, 3).to(dtype, memory_format=torch.channels_last),
        "transposed": _activation(54, 4).to(dtype).T,
        "slice": _activation(4, 60).to(dtype)[:, 3:57],
    }[layout]
    features = reduction(name, width)(activation)
    assert features.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert features.is_contiguous()
    kept = features.clone()
    activation.fill_(float("nan"))
    assert bool(kept.isfinite().all())
    assert torch.equal(features, kept)


@pytest.mark.parametrize("name", ["none", "average_pool", "feature_subset", "random_projection"])
@pytest.mark.parametrize("width", [None, 54, 1000])
@pytest.mark.parametrize("shape", [(4, 54), (4, 6, 3, 3), (4, 6, 9)])
def test_every_reduction_keeps_what_fits(shape: tuple[int, ...], width: int | None, name: str) -> None:
    """An activation with at most `width` entries, or without limit, is only flattened."""
    activation = _activation(*shape)
    assert torch.equal(reduction(name, width)(activation), activation.reshape(4, 54))


@pytest.mark.parametrize("name", ["feature_subset", "random_projection"])
@pytest.mark.parametrize("shape", [(3, 65), (3, 1001), (3, 5, 11, 13), (3, 11, 9)])
@pytest.mark.parametrize("width", [1, 7, 64])
def test_random_reductions_have_exactly_the_width(shape: tuple[int, ...], width: int, name: str) -> None:
    """Activations with more entries come out with `width` of them."""
    assert reduction(name, width)(_activation(*shape)).shape == (3, width)


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_the_batch(name: str) -> None:
    """A sample has the same features in every batch, also when the reduction is made anew."""
    activation = _activation(6, 4, 5, 5)
    whole = reduction(name, 10, seed=1)(activation)
    parts = torch.cat([reduction(name, 10, seed=1)(rows) for rows in activation.split(2)])
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("name", ["feature_subset", "random_projection"])
def test_seed_and_number_of_features_decide_the_draw(name: str) -> None:
    """Another seed and another number of features are other draws; the same are the same."""
    activation = _activation(2, 200)
    one = reduction(name, 20, seed=0)(activation)
    assert torch.equal(one, reduction(name, 20, seed=0)(activation.view(2, 8, 5, 5)))
    assert not torch.equal(one, reduction(name, 20, seed=1)(activation))
    padded = torch.cat([activation, torch.zeros(2, 1)], dim=1)
    assert not torch.equal(one, reduction(name, 20, seed=0)(padded))


def test_channel_means_are_means_over_positions() -> None:
    """A map has one mean per channel, summed in float32; anything else is flattened."""
    activation = _activation(3, 6, 4, 5)
    torch.testing.assert_close(ChannelMeans()(activation), activation.reshape(3, 6, 20).mean(2))
    large = torch.full((1, 1, 64, 64), 300.0, dtype=torch.float16)  # whose sum is beyond float16
    assert ChannelMeans()(large).item() == 300.0
    assert torch.equal(ChannelMeans()(activation.flatten(2)), activation.flatten(1))


def test_subset_is_of_different_features_in_order() -> None:
    """The subset has each feature at most once, in their order, and spreads over all of them."""
    places = FeatureSubset(100)(torch.arange(1000.0)[None])[0]
    assert bool((places.diff() > 0).all())
    assert torch.histc(places, 4, 0, 1000).min() > 10


def test_smaller_subset_is_part_of_a_larger_one() -> None:
    """Features at width 100 are among those at width 200."""
    numbers = torch.arange(1000.0)[None]
    assert bool(torch.isin(FeatureSubset(100)(numbers), FeatureSubset(200)(numbers)).all())


def test_random_draws_never_change() -> None:
    """Places of the subset and signs of the first features are those written down here."""
    assert FeatureSubset(5, 7)(torch.arange(100.0)[None]).tolist() == [[12, 40, 57, 76, 95]]
    signs = RandomProjection(4, 7)(torch.eye(100))[:3] * 2
    assert signs.tolist() == [[1, -1, -1, -1], [-1, -1, 1, -1], [1, 1, -1, -1]]


def test_projection_is_a_matrix_of_signs() -> None:
    """Every entry is +-1/sqrt(width), as many of either sign, without correlation between rows or columns."""
    width = 250
    matrix = RandomProjection(width)(torch.eye(1000))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, width**-0.5))
    assert abs(float(matrix.sign().mean())) < 0.01  # 5 standard deviations
    rows, columns = matrix @ matrix.T, matrix.T @ matrix * width / 1000
    assert float((rows - torch.eye(1000)).abs().max()) < 6 / width**0.5
    assert float((columns - torch.eye(width)).abs().max()) < 6 / 1000**0.5


def test_projection_keeps_distances() -> None:
    """Squared distances between samples are kept, on average and each to 5 sqrt(2 / width)."""
    activation = _activation(20, 3000)
    before = torch.pdist(activation).square()
    ratio = torch.pdist(RandomProjection(500)(activation)).square() / before
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)
    assert float((ratio - 1).abs().max()) < 5 * (2 / 500) ** 0.5


@pytest.mark.parametrize("block", [1, 130, 10**9])
def test_projection_does_not_depend_on_the_memory_it_takes(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made one feature, a few or all at a time, the matrix is the same."""
    activation = _activation(5, 4, 7, 7)
    expected = RandomProjection(65)(activation)
    monkeypatch.setattr(sys.modules[RandomProjection.__module__], "SIGNS", block)
    torch.testing.assert_close(RandomProjection(65)(activation), expected)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_round_the_features(name: str) -> None:
    """Under autocast, as in mixed-precision training, the features of a float32 activation are not rounded."""
    activation = _activation(5, 4, 7, 7)
    expected = reduction(name, 10)(activation)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(reduction(name, 10)(activation), expected)


@pytest.mark.parametrize("name", NAMES)
def test_reduction_made_in_inference_mode_serves_outside_of_it(name: str) -> None:
    """What a reduction remembers from a pass in inference mode does not hinder one with gradients."""
    with torch.inference_mode():
        reduction(name, 11, seed=5)(_activation(2, 4, 7, 7))
    activation = _activation(2, 4, 7, 7).requires_grad_()
    reduction(name, 11, seed=5)(activation).sum().backward()
    assert activation.grad is not None


@pytest.mark.parametrize("name", ["none", "channel_means", "feature_subset", "random_projection"])
def test_empty_batch_has_empty_features(name: str) -> None:
    """A batch without samples gives no rows."""
    assert len(reduction(name, 8)(torch.zeros(0, 4, 3, 3))) == 0


@pytest.mark.parametrize("width", [7, 40, 64, 200, 10**6])
@pytest.mark.parametrize("name", ["average_pool", "channel_means"])
def test_maps_with_their_channels_last_give_the_same_numbers(name: str, width: int) -> None:
    """(n, h, w, c) gives what its permuted twin (n, c, h, w) gives, in whatever order where nothing is reduced."""
    first = _activation(3, 8, 6, 5)
    twins = reduction(name, width)(first, 1), reduction(name, width)(first.permute(0, 2, 3, 1).contiguous(), 3)
    if twins[0].shape[1] == first[0].numel():
        twins = twins[0].sort(1).values, twins[1].sort(1).values
    assert torch.equal(*twins)
    assert torch.equal(reduction(name, width)(first, 1), reduction(name, width)(first))


@pytest.mark.parametrize("width", [1, 20, 60])
def test_sequences_and_volumes_are_averaged_over_their_positions(width: int) -> None:
    """Every channel keeps means of its own, one at least: never one over several channels."""
    sequence = _activation(2, 4, 30)
    parts = max(1, width // 4)
    expected = sequence.view(2, 4, parts, 30 // parts).mean(3).flatten(1)
    torch.testing.assert_close(average_pool(sequence, width, 1), expected)
    volume = _activation(2, 4, 6, 6, 6)
    side = {1: 1, 20: 1, 60: 2}[width]
    blocks = volume.view(2, 4, side, 6 // side, side, 6 // side, side, 6 // side).mean((3, 5, 7)).flatten(1)
    torch.testing.assert_close(average_pool(volume, width, 1), blocks)
    torch.testing.assert_close(average_pool(volume.movedim(1, -1), width, 4), blocks)


def test_tokens_are_averaged_or_the_first_is_taken() -> None:
    """Of (n, t, d) one feature per channel; maps and vectors are treated as by average_pool."""
    tokens, maps, vectors = _activation(3, 5, 8), _activation(3, 8, 4, 4), _activation(3, 40)
    for channels in (2, None):
        torch.testing.assert_close(reduction("token_mean", 6)(tokens, channels), tokens.mean(1))
        assert torch.equal(reduction("cls", 6)(tokens, channels), tokens[:, 0])
    assert torch.equal(reduction("average_pool", 39)(tokens, 2), tokens.mean(1))
    assert torch.equal(reduction("average_pool", 40)(tokens, 2), tokens.flatten(1))
    for name in ("token_mean", "cls"):
        assert torch.equal(reduction(name, 32)(maps, 1), average_pool(maps, 32))
        assert torch.equal(reduction(name, 20)(vectors), average_pool(vectors, 20))
        assert torch.equal(reduction(name, 10)(tokens, 1), average_pool(tokens, 10, 1))


@pytest.mark.parametrize(
    ("shape", "channels"), [((3, 6, 9), 1), ((3, 9, 6), 2), ((3, 4, 5, 6), 3), ((3, 6, 2, 3, 4), 1)]
)
def test_channel_means_in_any_layout(shape: tuple[int, ...], channels: int) -> None:
    """One mean per channel, wherever the channels are."""
    activation = _activation(*shape)
    expected = activation.movedim(channels, 1).flatten(2).mean(2)
    torch.testing.assert_close(reduction("channel_means", 1)(activation, channels), expected)


def test_the_table_says_what_was_done() -> None:
    """Nothing where all features are probed; else the reduction, or what stands for it in such a layer."""
    tokens, maps = Tap("a", 40, True, True, Layout(0, 2)), Tap("b", 40, True, True, Layout(0, 1))
    done = {
        name: [
            by_layer(name, [tap], 8)[tap.name].reduced(40, features) for tap in (tokens, maps) for features in (8, 40)
        ]
        for name in ("average_pool", "cls", "feature_subset")
    }
    assert done == {
        "average_pool": ["token_mean", "", "average_pool", ""],
        "cls": ["cls", "", "average_pool", ""],
        "feature_subset": ["feature_subset", "", "feature_subset", ""],
    }
