"""Taps: the points of a network where activations are read, by name and in order of execution.

A tap is named after the module whose output it reads, as in `named_modules()`; a module that runs more than once in a
forward pass has one tap per run: `relu`, `relu#2`, ... The tap `input` reads the network's input.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

INPUT = "input"
# Their output says nothing that their input did not say: identities in evaluation mode, and changes of shape.
TRANSPARENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@contextmanager
def reading(module: nn.Module, read: Callable[[str, Any], None], taps: Sequence[str] | None = None) -> Iterator[None]:
    """Call `read(tap, output)` whenever a submodule has run; to be entered anew for every forward pass.

    Args:
        module: The network.
        read: Gets the tap's name and the output as the module returned it. It must copy what it keeps: a later
            in-place operation may overwrite the output.
        taps: The taps to read; None reads every submodule.

    Yields:
        Nothing; run the forward pass inside the block.
    """
    runs: dict[str, int] = {}
    wanted = None if taps is None else {tap.split("#")[0] for tap in taps}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            tap = name if runs[name] == 1 else f"{name}#{runs[name]}"
            if taps is None or tap in taps:
                read(tap, output)

        return after

    handles = [
        part.register_forward_hook(hook(name))
        for name, part in module.named_modules()
        if name and (wanted is None or name in wanted)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_taps(module: nn.Module, forward: Callable[[Tensor], Any], image: Tensor) -> dict[str, bool]:
    """Run the network once and list its taps in order of execution.

    Args:
        module: The network, in the state (see `frozen`) it will be measured in.
        forward: Runs the network on a batch of images.
        image: A batch, (n, ...).

    Returns:
        Every tap whose output is a floating-point tensor with one row per sample, with whether 'all' means it: the
        input, and the modules without submodules that do more than pass on or reshape.
    """
    parts = dict(module.named_modules())
    taps = {INPUT: True}

    def note(tap: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 1 and len(output) == len(image):
            part = parts[tap.split("#")[0]]
            taps[tap] = not isinstance(part, TRANSPARENT) and not any(True for _ in part.children())

    with reading(module, note):
        forward(image)
    return taps


def select_taps(patterns: str | Sequence[str], available: dict[str, bool]) -> list[str]:
    """Choose taps by name, by glob or all of them.

    Args:
        patterns: 'all', a tap's name, a glob such as '*.relu*', or a list of these.
        available: The taps there are, from `find_taps`.

    Returns:
        The chosen taps in order of execution, each once.

    Raises:
        ValueError: If a pattern chooses nothing; the message names the nearest taps.
    """
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = {tap for tap, natural in available.items() if (natural if pattern == "all" else fnmatchcase(tap, pattern))}
        if not matches:
            near = get_close_matches(pattern, available, n=3, cutoff=0.3) or list(available)[:8]
            raise ValueError(f"no tap matches {pattern!r}: taps are 'all', names and globs, such as {', '.join(near)}")
        chosen |= matches
    return [tap for tap in available if tap in chosen]


def read_features(
    module: nn.Module,
    forward: Callable[[Tensor], Any],
    image: Tensor,
    taps: Sequence[str],
    reduce: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Run the network on a batch and return the reduced output at every tap, in the order of `taps`.

    Args:
        module: The network, frozen.
        forward: Runs the network on a batch of images.
        image: A batch, (n, ...).
        taps: Taps to read, from `select_taps`.
        reduce: Turns an activation (n, ...) into new features (n, d), at once: the activation may not outlive the pass.

    Returns:
        Features (n, d) by tap.

    Raises:
        ValueError: If a tap was not reached in this forward pass.
    """
    features: dict[str, Tensor] = {}
    if INPUT in taps:
        features[INPUT] = reduce(image)
    with reading(module, lambda tap, output: features.__setitem__(tap, reduce(output)), taps):
        forward(image)
    if missing := [tap for tap in taps if tap not in features]:
        raise ValueError(f"taps {', '.join(missing)} were not reached: the network ran other modules than at the start")
    return {tap: features[tap] for tap in taps}


