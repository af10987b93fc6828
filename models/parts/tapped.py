"""Layers one after the other, and the points between them at which the literature probes."""

from collections.abc import Mapping

from torch import nn


class Tapped(nn.Sequential):
    """A network of named layers that names its natural taps (see `stratoscope.probes.find_taps`).

    Args:
        layers: The layers by name, in order of execution.
        natural_taps: Globs of their names; all of them by default, as in a slice of the network.
    """

    def __init__(self, layers: Mapping[str, nn.Module], natural_taps: tuple[str, ...] = ("*",)) -> None:
        super().__init__()
        self.natural_taps = natural_taps
        for name, layer in layers.items():
            self.add_module(name, layer)
