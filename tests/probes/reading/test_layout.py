"""Tests of probes/reading/layout.py: where the layers of other people's networks have their samples and channels."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from stratoscope.probes import by_layer, find_taps, frozen, read_features
from stratoscope.probes.reading.taps import INPUT, Tap


def taps_of(network: nn.Module, image: Tensor, channels: str | None = None) -> dict[str, Tap]:
    """The taps of a network by name."""
    with frozen(network):
        return {tap.name: tap for tap in find_taps(network, network, image, channels)}


class Recurrent(nn.Module):
    """An LSTM and a GRU that take the sequence first, as they do by default."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.head = nn.LSTM(5, 7, bidirectional=True), nn.GRU(14, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Read (n, t, 5)."""
        hidden, _ = self.lstm(x.transpose(0, 1))
        hidden, _ = self.gru(hidden)
        logits: Tensor = self.head(hidden[-1])
        return logits


class Encoder(nn.Module):
    """A transformer's encoder that takes the sequence first or second."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Read (n, t, 8)."""
        hidden = self.encoder(x if self.batch_first else x.transpose(0, 1))
        mean: Tensor = hidden.mean(1 if self.batch_first else 0)
        return mean


class Mixing(nn.Module):
    """Token and channel mixing, as in MLP-Mixer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.tokens, self.act, self.channels = (
            nn.Conv2d(3, 8, 4, 4),
            nn.Linear(4, 5),
            nn.GELU(),
            nn.Linear(8, 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Read (n, 3, 8, 8)."""
        x = self.act(self.tokens(self.patches(x).flatten(2)))
        mixed: Tensor = self.channels(x.transpose(1, 2))
        return mixed.mean(1)


def test_swin_has_its_channels_last_between_convolutions() -> None:
    """Row A9: swin_t's blocks give (n, h, w, c): channel means are 96, 192, ... features, not 7, the height."""
    network = torchvision.models.swin_t()
    image = torch.randn(2, 3, 64, 64)
    taps = taps_of(network, image)
    places = {
        name: taps[name].layout.channels for name in ("features.0.0", "features.0.1", "features.1.0.attn", "permute")
    }
    assert places == {"features.0.0": 1, "features.0.1": 3, "features.1.0.attn": 3, "permute": 1}
    stages = [taps[f"features.{stage}"] for stage in range(8)]
    with frozen(network):
        features = read_features(network, network, image, by_layer("channel_means", stages, None))
    assert [rows.shape[1] for rows in features.values()] == [96, 96, 192, 192, 384, 384, 768, 768]


def test_convnext_goes_back_and_forth() -> None:
    """Torchvision's ConvNeXt permutes within its blocks, and its LayerNorm2d is a LayerNorm with the channels first."""
    taps = taps_of(torchvision.models.convnext_tiny(), torch.randn(2, 3, 64, 64))
    blocks = [taps[f"features.1.0.block.{place}"].layout.channels for place in range(7)]
    assert blocks == [1, 3, 3, 3, 3, 3, 1]
    assert [taps[name].layout.channels for name in ("features.0.1", "features.1.0", "features.2.0")] == [1, 1, 1]


def test_vision_transformers_have_tokens() -> None:
    """torchvision's: the projection is a convolution, and all that follows has tokens, (n, t, d)."""
    network = torchvision.models.VisionTransformer(32, 8, 2, 4, 64, 128)
    taps = taps_of(network, torch.randn(4, 3, 32, 32))
    assert taps["conv_proj"].layout.channels == 1
    tokens = [tap for name, tap in taps.items() if name.startswith("encoder")]
    assert len(tokens) > 10
    assert all(tap.layout.tokens for tap in tokens)
    assert taps["encoder.layers.encoder_layer_0.self_attention"].leaf  # its projection is called as a function


@pytest.mark.parametrize("steps", [6, 13])
@pytest.mark.parametrize("samples", [2, 3, 6, 7])
def test_sequence_first_layers_are_read_by_sample(samples: int, steps: int) -> None:
    """Row B9: also where there are as many steps as samples, every sample has its own row, whatever its batch."""
    torch.manual_seed(0)
    network, image = Recurrent(), torch.randn(samples, steps, 5)
    taps = taps_of(network, image)
    assert [(tap.name, tap.layout.samples, tap.width) for tap in taps.values() if tap.name != INPUT] == [
        ("lstm", 1, 14 * steps),
        ("gru", 1, 6 * steps),
        ("head", 0, 3),
    ]
    with frozen(network):
        reduce = by_layer("none", [taps["lstm"], taps["gru"]], None)
        features = read_features(network, network, image, reduce)
        expected = network.lstm(image.transpose(0, 1))[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(features["lstm"], expected)


@pytest.mark.parametrize("batch_first", [True, False])
def test_encoders_are_read_by_sample(batch_first: bool) -> None:
    """nn.TransformerEncoder, with either order of its axes, gives the mean of the tokens of each sample."""
    torch.manual_seed(0)
    network, image = Encoder(batch_first), torch.randn(5, 5, 8)
    taps = taps_of(network, image)
    inside = [tap for name, tap in taps.items() if name != INPUT]
    assert {tap.layout.samples for tap in inside} == {int(not batch_first)}
    assert all(tap.layout.tokens for tap in inside)
    with frozen(network):
        found = read_features(network, network, image, by_layer("token_mean", [taps["encoder"]], None))["encoder"]
        torch.testing.assert_close(found, network(image))


def test_linear_layers_over_tokens_leave_the_channels_where_they_are() -> None:
    """A convolution's channels stay channels while a linear layer mixes the tokens of each."""
    taps = taps_of(Mixing(), torch.randn(2, 3, 8, 8))
    assert [tap.layout.channels for tap in taps.values()] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("make", "shape", "place"),
    [
        (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), (2, 3, 9), 1),
        (lambda: nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU()), (2, 3, 5, 6, 7), 1),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 9, 3), 2),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh()), (2, 9, 8, 3), 3),
        (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()), (2, 3, 9), 1),
    ],
)
def test_activations_have_their_channels_where_their_input_had_them(
    make: Callable[[], nn.Module], shape: tuple[int, ...], place: int
) -> None:
    """What has no say follows; and the input has its channels where the first layer takes them."""
    taps = taps_of(make(), torch.randn(shape))
    assert {tap.layout.channels for tap in taps.values()} == {place}


class Own(nn.Module):
    """A layer of nobody's kind."""

    def forward(self, x: Tensor) -> Tensor:
        """Give a new tensor of another shape."""
        return torch.cat([x, x], 1) * 2


def test_the_user_says_what_no_module_tells() -> None:
    """`channels` holds for layers of which nothing is known, and not for a convolution."""
    image = torch.randn(2, 6, 7, 5)
    for asked, place in ((None, 1), ("first", 1), ("last", 3)):
        taps = taps_of(nn.Sequential(Own()), image, asked)
        assert [tap.layout.channels for tap in taps.values()] == [place, place]
    assert taps_of(nn.Sequential(nn.Conv2d(6, 2, 1)), image, "last")["0"].layout.channels == 1
