"""Tests of probes/reading/taps.py."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from stratoscope.probes.reading.isolation import frozen
from stratoscope.probes.reading.reduction import average_pool
from stratoscope.probes.reading.taps import INPUT, Tap, find_taps, read_features, reading, select_taps


class Halves(nn.Module):
    """Gives a tuple."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split channels in two."""
        a, b = x.chunk(2, dim=1)
        return a, b


class Choice(nn.Module):
    """Gives one integer per sample and class."""

    def forward(self, x: Tensor) -> Tensor:
        """Rank the classes."""
        return x.argsort(1)


class Total(nn.Module):
    """Gives one number for the whole batch, with two dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """Add up all entries."""
        return x.sum().view(1, 1)


class Network(nn.Module):
    """Modules defined in another order than they run in, one of them twice, one never, some in place."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(5, 3)
        self.relu = nn.ReLU(inplace=True)
        self.total, self.choice, self.halves = Total(), Choice(), Halves()
        self.hidden = nn.Sequential(nn.Linear(8, 5), nn.Dropout(), nn.Identity())
        self.flat = nn.Flatten()
        self.pool = nn.AvgPool2d(3)
        self.conv2 = nn.Conv2d(2, 2, 1)
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Run conv1, relu, halves, conv2, pool, flat, hidden, relu again, head, choice and total."""
        x, _ = self.halves(self.relu(self.conv1(x)))
        x = self.hidden(self.flat(self.pool(self.conv2(x))))
        x = self.head(self.relu(x))
        self.choice(x)
        self.total(x)
        return x

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The same without modules and in-place operations: every activation by the name of its tap."""
        a = {INPUT: x}
        a["conv1"] = functional.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1)
        a["relu"] = a["conv1"].clamp(min=0)
        a["halves"] = a["relu"][:, :2]
        a["conv2"] = functional.conv2d(a["relu"][:, :2], self.conv2.weight, self.conv2.bias)
        a["pool"] = a["conv2"].view(len(x), 2, 2, 3, 2, 3).mean((3, 5))
        a["flat"] = a["pool"].flatten(1)
        linear = self.get_submodule("hidden.0")
        assert isinstance(linear, nn.Linear)
        a["hidden.0"] = a["flat"] @ linear.weight.T + linear.bias
        a["hidden.1"] = a["hidden.2"] = a["hidden"] = a["hidden.0"]
        a["relu#2"] = a["hidden.0"].clamp(min=0)
        a["head"] = a["relu#2"] @ self.head.weight.T + self.head.bias
        return a


ORDER = [
    INPUT,
    "conv1",
    "relu",
    "halves",
    "conv2",
    "pool",
    "flat",
    "hidden.0",
    "hidden.1",
    "hidden.2",
    "hidden",
    "relu#2",
    "head",
]
ALL = [INPUT, "conv1", "relu", "halves", "conv2", "pool", "hidden.0", "relu#2", "head"]


@pytest.fixture
def network() -> Iterator[Network]:
    """A frozen network."""
    torch.manual_seed(0)
    network = Network()
    with frozen(network):
        yield network


@pytest.fixture
def image() -> Tensor:
    """Two images of one channel and 6 x 6 pixels."""
    return torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def _keep(activation: Tensor) -> Tensor:
    return average_pool(activation, None)


def _hooks(network: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in network.modules())


def test_taps_are_listed_in_order_of_execution(network: Network, image: Tensor) -> None:
    """Taps come as the network runs, not as it is defined; a second run gets '#2', a module that never runs none."""
    assert [tap.name for tap in find_taps(network, network, image)] == ORDER


def test_taps_know_their_width(network: Network, image: Tensor) -> None:
    """A tap's width is the number of entries per sample of its activation."""
    expected = {name: activation[0].numel() for name, activation in network.by_hand(image).items()}
    assert {tap.name: tap.width for tap in find_taps(network, network, image)} == expected


def test_only_float_tensors_with_a_row_per_sample_are_offered(network: Network, image: Tensor) -> None:
    """Modules that give integers, or one result for the batch, have no tap; of a tuple the first tensor is read."""
    names = {tap.name for tap in find_taps(network, network, image)}
    assert names.isdisjoint({"choice", "total"})
    assert "halves" in names


def test_all_leaves_out_containers_and_what_only_passes_on(network: Network, image: Tensor) -> None:
    """'all' means the input and every leaf but flatten, dropout and identity."""
    assert [tap.name for tap in select_taps("all", find_taps(network, network, image))] == ALL


@pytest.mark.parametrize("name", ["hidden", "hidden.1", "hidden.2", "flat", "relu#2", "input"])
def test_every_tap_can_be_chosen_by_name(name: str, network: Network, image: Tensor) -> None:
    """A name chooses that tap alone, also containers and what 'all' leaves out."""
    assert [tap.name for tap in select_taps(name, find_taps(network, network, image))] == [name]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ("relu*", ["relu", "relu#2"]),
        ("conv?", ["conv1", "conv2"]),
        ("hidden.*", ["hidden.0", "hidden.1", "hidden.2"]),
        ("*", ORDER),
        (["head", "relu", "conv*", "conv1"], ["conv1", "relu", "conv2", "head"]),
        (["hidden", "all"], [*ALL[:7], "hidden", *ALL[7:]]),
    ],
)
def test_globs_choose_in_order_of_execution_each_once(
    patterns: str | list[str], chosen: list[str], network: Network, image: Tensor
) -> None:
    """Globs and lists choose all that match, in order of execution and without repeats."""
    assert [tap.name for tap in select_taps(patterns, find_taps(network, network, image))] == chosen


@pytest.mark.parametrize(
    ("patterns", "message"),
    [("cnov1", "'cnov1'.*conv1"), (["conv1", "hidden.O"], r"'hidden\.O'.*hidden\.0"), ("nothing*", r"'nothing\*'")],
)
def test_unknown_name_is_refused_naming_the_nearest(
    patterns: str | list[str], message: str, network: Network, image: Tensor
) -> None:
    """A pattern that matches nothing is refused, with the nearest taps there are."""
    with pytest.raises(ValueError, match=message):
        select_taps(patterns, find_taps(network, network, image))


def test_name_like_nothing_is_refused_with_some_taps() -> None:
    """A pattern that resembles no tap is refused with the first taps."""
    with pytest.raises(ValueError, match=r"'zzz'.*conv, fc"):
        select_taps("zzz", [Tap("conv", 3, leaf=True, natural=True), Tap("fc", 3, leaf=True, natural=True)])


def test_features_equal_a_forward_by_hand(network: Network, image: Tensor) -> None:
    """Every tap's features are what the layer put out, though in-place ReLUs overwrite two of the outputs later."""
    expected = {name: activation.flatten(1) for name, activation in network.by_hand(image).items()}
    before = image.clone()
    features = read_features(network, network, image, dict.fromkeys(ORDER, _keep))
    assert (expected["conv1"] < 0).any()
    assert (expected["hidden.0"] < 0).any()
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(image, before)


def test_input_is_read_before_the_network_overwrites_it(image: Tensor) -> None:
    """The tap 'input' gives the images as they came, also to a network that starts with an in-place ReLU."""
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())
    features = read_features(network, network, image.clone(), dict.fromkeys([INPUT, "0"], _keep))
    assert torch.equal(features[INPUT], image.flatten(1))
    assert torch.equal(features["0"], image.clamp(min=0).flatten(1))


def test_second_run_is_read_apart_from_the_first(network: Network, image: Tensor) -> None:
    """Asked for alone, 'relu#2' is the module's second output and not its first."""
    features = read_features(network, network, image, dict.fromkeys(["relu#2"], _keep))
    assert list(features) == ["relu#2"]
    torch.testing.assert_close(features["relu#2"], network.by_hand(image)["relu#2"])


def test_every_pass_counts_runs_anew(network: Network, image: Tensor) -> None:
    """A second batch gives the same names and, for the same images, the same features."""
    first = read_features(network, network, image, dict.fromkeys(ORDER, _keep))
    second = read_features(network, network, image, dict.fromkeys(ORDER, _keep))
    assert all(torch.equal(first[name], second[name]) for name in ORDER)


def test_features_come_in_the_order_asked_for(network: Network, image: Tensor) -> None:
    """The result is ordered as the taps in the request, and holds no others."""
    assert list(read_features(network, network, image, dict.fromkeys(["head", INPUT, "conv1"], _keep))) == [
        "head",
        INPUT,
        "conv1",
    ]


def test_forward_may_be_more_than_the_module(network: Network, image: Tensor) -> None:
    """Activations follow what `forward` makes of the images, the input tap the images themselves."""
    features = read_features(network, lambda x: network(-x), image, dict.fromkeys([INPUT, "head"], _keep))
    torch.testing.assert_close(features["head"], network.by_hand(-image)["head"])
    assert torch.equal(features[INPUT], image.flatten(1))


def test_tap_that_is_not_reached_is_refused(network: Network, image: Tensor) -> None:
    """A tap whose module does not run in this pass is refused by name."""
    with pytest.raises(ValueError, match=r"tap unused was not reached.*; tap relu#3 was not reached"):
        read_features(network, network, image, dict.fromkeys(["conv1", "unused", "relu#3"], _keep))


def test_no_hooks_are_left(network: Network, image: Tensor) -> None:
    """Hooks are there during a pass and gone after it; a hook of the user's own stays."""
    network.conv1.register_forward_hook(lambda *_: None)
    during: list[int] = []

    def forward(x: Tensor) -> Tensor:
        during.append(_hooks(network))
        return network.forward(x)

    find_taps(network, forward, image)
    read_features(network, forward, image, dict.fromkeys(["conv1", "relu#2"], _keep))
    assert during[0] > during[-1] == 3
    assert _hooks(network) == 1


def test_no_hooks_are_left_when_the_pass_fails(network: Network, image: Tensor) -> None:
    """Hooks are gone also when the forward pass, or the reduction, raises."""

    def broken(x: Tensor) -> Tensor:
        network(x)
        raise RuntimeError("forward broke")

    def refuse(_: Tensor) -> Tensor:
        raise RuntimeError("reduction broke")

    with pytest.raises(RuntimeError, match="forward broke"):
        find_taps(network, broken, image)
    with pytest.raises(RuntimeError, match="forward broke"):
        read_features(network, broken, image, dict.fromkeys(ORDER, _keep))
    with pytest.raises(RuntimeError, match="reduction broke"):
        read_features(network, network, image, dict.fromkeys(["conv1"], refuse))
    assert _hooks(network) == 0


def test_reading_calls_for_the_taps_asked_for(network: Network, image: Tensor) -> None:
    """`reading` passes on the named outputs only, and everything without names."""
    named: list[str] = []
    with reading(network, lambda tap, _: named.append(tap), ["relu#2", "conv2"]):
        network(image)
    assert named == ["conv2", "relu#2"]
    every: list[str] = []
    with reading(network, lambda tap, _: every.append(tap)):
        network(image)
    assert [name for name in every if name not in {"choice", "total"}] == ORDER[1:]
    assert {"choice", "total"} <= set(every)


class Block(nn.Module):
    """A residual block: its output is no leaf's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add the input to what the leaves make of it."""
        out: Tensor = x + self.relu(self.conv(x))
        return out


class Reporting(nn.Module):
    """A network that names its natural taps, beside a layer it does not name."""

    natural_taps = ("stem", "block?")

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block1, self.block2, self.head = nn.Conv2d(1, 4, 1), Block(), Block(), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        """Run everything in order."""
        flat: Tensor = self.head(self.block2(self.block1(self.stem(x))))
        return flat


@pytest.mark.parametrize("inside", ["", "body.network."])
def test_natural_taps_are_what_the_network_names(inside: str, image: Tensor) -> None:
    """They are its own globs and nothing below them, wherever it lies; what lies beside it counts by its leaves."""
    reporting, scale = Reporting(), nn.ReLU()
    network: nn.Module = reporting
    if inside:
        network = nn.ModuleDict({"body": nn.ModuleDict({"network": reporting}), "scale": scale})
    taps = find_taps(network, (lambda x: scale(reporting(x))) if inside else reporting, image)
    named = [f"{inside}{name}" for name in ("stem", "block1", "block2")]
    assert [tap.name for tap in select_taps("natural", taps)] == [INPUT, *named, *(["scale"] if inside else [])]
    assert f"{inside}block1.relu" in [tap.name for tap in select_taps("all", taps)]
    assert f"{inside}block1" not in [tap.name for tap in select_taps("all", taps)]


def test_without_natural_taps_all_leaves_are_natural(network: Network, image: Tensor) -> None:
    """A network that names nothing is read at every leaf."""
    taps = find_taps(network, network, image)
    assert select_taps("natural", taps) == select_taps("all", taps)


def test_compiled_networks_are_read_as_they_are_written(image: Tensor) -> None:
    """A network compiled in place gives the taps and features of the same network without compilation."""
    network = Reporting()
    expected = read_features(network, network, image, dict.fromkeys(["stem", "block2"], _keep))
    network.compile(backend="eager")
    compiled = network(image)
    assert [tap.name for tap in find_taps(network, network, image)][:2] == [INPUT, "stem"]
    torch.testing.assert_close(
        read_features(network, network, image, dict.fromkeys(["stem", "block2"], _keep)), expected
    )
    assert torch.equal(network(image), compiled)


class Normalised(nn.Module):
    """Layers whose weights are computed when they run, with as many rows as the batch has; one does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Linear(4, 6))
        self.last = parametrizations.spectral_norm(nn.Linear(6, 2))
        self.idle = parametrizations.orthogonal(nn.Linear(2, 2))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: Tensor) -> Tensor:
        """Both layers that run."""
        out: Tensor = self.last(self.first(x))
        return out


def test_what_computes_a_weight_is_no_layer() -> None:
    """The layer is one, with its own output; of what did not run those are named that have parameters."""
    network, x, left_out = Normalised().eval(), torch.randn(6, 4), dict[str, str]()
    taps = [tap.name for tap in select_taps("all", find_taps(network, network, x, left_out=left_out))]
    assert taps == [INPUT, "first", "last"]
    assert left_out == {"idle": "did not run"}


def test_recurrent_and_attention_modules_are_read(image: Tensor) -> None:
    """Of a module that returns (sequence, state) or (output, weights), the first tensor is the activation."""

    class Sequences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 4, batch_first=True)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            hidden, _ = self.lstm(x[:, 0])
            attended, _ = self.attention(hidden, hidden, hidden)
            result: Tensor = attended.mean(1)
            return result

    network = Sequences()
    with frozen(network):
        taps = find_taps(network, network, image)
        assert [(tap.name, tap.width) for tap in taps] == [(INPUT, 36), ("lstm", 24), ("attention", 24)]
        features = read_features(network, network, image, dict.fromkeys(["lstm"], _keep))["lstm"]
        torch.testing.assert_close(features, network.lstm(image[:, 0])[0].flatten(1))
