"""Taps: the points of a network where activations are read, by name and in order of execution.

A tap is named after the module whose output it reads, as in `named_modules()`; a module that runs more than once in a
forward pass has one tap per run: `relu`, `relu#2`, ... The tap `input` reads the network's input, also where a module
has that name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

INPUT = "input"
# Their output says nothing that their input did not say: identities in evaluation mode, and changes of shape.
TRANSPARENT = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
)


@dataclass(frozen=True)
class Tap:
    """A point of a network where activations can be read.

    Attributes:
        name: The module's qualified name, with `#2`, `#3`, ... for its later runs in one forward pass.
        width: Entries per sample of the activation.
        leaf: Whether 'all' means it: the input, and modules without submodules that do more than pass on or reshape.
        natural: Whether 'natural' means it: what the network names in `natural_taps`, globs of names below itself in
            which `*` matches no dot; the same as 'all' where it names nothing.
    """

    name: str
    width: int
    leaf: bool
    natural: bool


@contextmanager
def reading(
    module: nn.Module, read: Callable[[str, Tensor], None], taps: Sequence[str] | None = None
) -> Iterator[None]:
    """Call `read(tap, output)` whenever a submodule has run; to be entered anew for every forward pass.

    Args:
        module: The network.
        read: Gets the tap's name and the output as the module returned it; of a tuple or list, which recurrent and
            attention modules return, its first tensor. It must copy what it keeps: a later in-place operation may
            overwrite the output.
        taps: The taps to read; None reads every submodule.

    Yields:
        Nothing; run the forward pass inside the block.
    """
    with hooked(module, read, taps), torch.compiler.set_stance("force_eager"):  # compiled, it would not call the hooks
        yield


@contextmanager
def hooked(module: nn.Module, read: Callable[[str, Tensor], None], taps: Sequence[str] | None = None) -> Iterator[None]:
    """Do the same as `reading` for a forward pass that must stay as it is: what is compiled stays so, and is not read.

    Args:
        module: The network.
        read: Gets the tap's name and the output.
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
            found = output if isinstance(output, Tensor) else _first_tensor(output)
            if found is not None and (taps is None or tap in taps):
                read(tap, found)

        return after

    handles = [
        part.register_forward_hook(hook(name))
        for name, part in module.named_modules()
        if name not in {"", INPUT} and (wanted is None or name in wanted)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(output: Any) -> Tensor | None:
    entries = output if isinstance(output, (tuple, list)) else ()
    return next((entry for entry in entries if isinstance(entry, Tensor)), None)


def find_taps(module: nn.Module, forward: Callable[[Tensor], Any], image: Tensor) -> list[Tap]:
    """Run the network once and list its taps in order of execution.

    Args:
        module: The network, in the state (see `frozen`) it will be measured in.
        forward: Runs the network on a batch of images.
        image: A batch, (n, ...).

    Returns:
        The input, and every module whose output (see `reading`) is a floating-point tensor with one row per sample.
    """
    parts = dict(module.named_modules())
    own = {name: part.natural_taps for name, part in parts.items() if hasattr(part, "natural_taps")}
    taps = [Tap(INPUT, image[0].numel(), leaf=True, natural=True)]

    def note(name: str, output: Tensor) -> None:
        if output.is_floating_point() and output.ndim > 1 and len(output) == len(image):
            part = parts[name.split("#")[0]]
            leaf = not isinstance(part, TRANSPARENT) and not any(True for _ in part.children())
            taps.append(Tap(name, output[0].numel(), leaf, _natural(name, leaf, own)))

    with reading(module, note):
        forward(image)
    return taps


def _natural(tap: str, leaf: bool, own: Mapping[str, Any]) -> bool:
    """Whether a tap is one of those that the network it lies in names itself; any leaf will do if it names none."""
    for name, globs in own.items():
        below = tap.removeprefix(f"{name}." if name else "")
        if not name or below != tap:
            return any(fnmatchcase(below, glob) and below.count(".") == glob.count(".") for glob in globs)
    return leaf


def select_taps(patterns: str | Sequence[str], available: Sequence[Tap]) -> list[Tap]:
    """Choose taps by name, by glob or all of them.

    Args:
        patterns: 'natural', 'all', a tap's name, a glob such as '*.relu*', or a list of these.
        available: The taps there are, from `find_taps`.

    Returns:
        The chosen taps in order of execution, each once.

    Raises:
        ValueError: If a pattern chooses nothing; the message names the nearest taps.
    """
    chosen: set[str] = set()
    names = [tap.name for tap in available]
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = {tap.name for tap in available if _matches(tap, pattern)}
        if not matches:
            near = get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:8]
            raise ValueError(
                f"no tap matches {pattern!r}: taps are 'natural', 'all', names and globs, such as {', '.join(near)}"
            )
        chosen |= matches
    return [tap for tap in available if tap.name in chosen]


def _matches(tap: Tap, pattern: str) -> bool:
    return {"natural": tap.natural, "all": tap.leaf}.get(pattern, fnmatchcase(tap.name, pattern))


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
