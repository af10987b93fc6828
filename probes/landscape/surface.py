"""A network at points of its weight space: on a path between solutions, or in a plane."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stratoscope.probes.landscape.parameters import FlatParameters, combined, others_of
from stratoscope.probes.landscape.paths import filter_normalised

Moments = dict[str, tuple[Tensor, Tensor]]  # mean and variance by the name of a batch normalisation
VARIANCE = "running_var"


class Surface:
    """Moves a network to weighted sums of given weights.

    The network is changed in place, within a block of `frozen`, which puts it back. What is not trained goes with the
    weights: buffers in floating point, running statistics of batch normalisation among them, and parameters that are
    not trained are the same weighted sum, so that every end is what it was trained to be; a running variance is at
    least that of the end with the smallest, as a sum with a negative weight may be none. Whole numbers are those of
    the nearest end.

    Args:
        module: The network, in its first end.
        ends: State dicts of the other ends, of the same names and shapes.
    """

    def __init__(self, module: nn.Module, ends: Sequence[Mapping[str, Tensor]] = ()) -> None:
        self.module, self.parameters, self.others = module, FlatParameters(module), others_of(module)
        states = [{name: one.detach().clone() for name, one in self.others.items()}]
        states += [{name: end[name].to(one.device, one.dtype) for name, one in self.others.items()} for end in ends]
        self.states = {name: [state[name] for state in states] for name in self.others}
        self.ends = [self.parameters.vector(), *map(self.parameters.vector_of, ends)]

    def add_directions(self, seed: int) -> None:
        """Add two random directions to the ends, see `filter_normalised`.

        Args:
            seed: Decides them.
        """
        self.ends += [filter_normalised(self.parameters, 2 * seed + number) for number in range(2)]

    def go_to(self, weights: Sequence[float]) -> None:
        """Give the network a weighted sum of the ends.

        Args:
            weights: One for each end, or direction.
        """
        self.parameters.put(combined(self.ends, weights))
        with torch.no_grad():
            for name, own in self.others.items():
                ends = self.states[name]
                mine = weights[: len(ends)]
                if own.is_floating_point() and len(ends) > 1:
                    found = combined(ends, mine)
                    least = torch.stack(ends).amin(0)
                    own.copy_(torch.maximum(found, least) if name.endswith(VARIANCE) else found)
                else:
                    own.copy_(ends[max(range(len(ends)), key=lambda place: mine[place])])


def batch_normalisations(module: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations with running statistics in a network, by name.

    Args:
        module: The network.
    """
    found = {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm)}
    return {name: part for name, part in found.items() if part.running_mean is not None}


def block_moments(module: nn.Module, run: Callable[[Any], Any], blocks: Iterable[Any]) -> list[tuple[int, Moments]]:
    """The statistics that batch normalisations see in every block of samples, each normalised by its own.

    Everything else is as in evaluation, dropout for one.

    Args:
        module: The network, in evaluation mode, whose running statistics are overwritten.
        run: Runs it on a block.
        blocks: Blocks of samples, of a length each.

    Returns:
        For every block of two samples or more their number, and mean and (unbiased) variance by name.
    """
    parts = batch_normalisations(module)
    before = {name: part.momentum for name, part in parts.items()}
    found: list[tuple[int, Moments]] = []
    try:
        for part in parts.values():
            part.train()
            part.momentum = 1.0  # the statistics of the last block
        for block in blocks:
            if len(block) < 2:  # of which there is no variance
                continue
            run(block)
            found.append((
                len(block),
                {
                    name: (_kept(part.running_mean), _kept(part.running_var))
                    for name, part in parts.items()
                    if part.running_mean is not None and part.running_var is not None
                },
            ))
    finally:
        for name, part in parts.items():
            part.eval()
            part.momentum = before[name]
    return found


def _kept(statistic: Tensor) -> Tensor:
    """A copy, as the next block overwrites it."""
    return statistic.to("cpu", torch.float64, copy=True)


def put_moments(module: nn.Module, found: Sequence[tuple[int, Moments]]) -> None:
    """Give batch normalisations the means of their statistics over blocks, weighted by numbers of samples.

    Args:
        module: The network.
        found: Of all blocks, in order (`block_moments`).
    """
    total = sum(count for count, _ in found)
    with torch.no_grad():
        for name, part in batch_normalisations(module).items():
            for place, own in enumerate((part.running_mean, part.running_var)):
                if own is not None:
                    own.copy_(sum(count / total * moments[name][place] for count, moments in found))  # type: ignore[arg-type]


def mean_losses(logits: Float[Tensor, "n classes"], label: Tensor) -> Float[Tensor, " n"]:
    """The cross-entropy of every sample in nats, in float64; 0 where the label is below 0: there is none.

    Args:
        logits: What the network answers.
        label: Classes (n), int64.
    """
    chosen = logits.double().log_softmax(1).gather(1, label.clamp(min=0)[:, None])[:, 0]
    return torch.where(label < 0, torch.zeros_like(chosen), -chosen)
