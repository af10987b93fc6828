"""Taps: the points of a network where activations are read, by name and in order of execution.

A tap is named after the module whose output it reads, as in `named_modules()`; a module that runs more than once in a
forward pass has one tap per run: `relu`, `relu#2`, ... The tap `input` reads the network's input, also where a module
has that name.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from stratoscope.probes.reading.layout import ChannelAxes, ChannelAxis, Layout, channel_axis, sequence_first

INPUT = "input"
MAIN_OUTPUTS = ("last_hidden_state", "logits")  # of Hugging Face's output objects, which may begin with the loss
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
        leaf: Whether 'all' means it: the input, and modules none of whose children ran that do more than pass on or
            reshape.
        natural: Whether 'natural' means it: what the network names in `natural_taps`, globs of names below itself in
            which `*` matches no dot; the same as 'all' where it names nothing.
        layout: Where the activation has its samples and its channels.
    """

    name: str
    width: int
    leaf: bool
    natural: bool
    layout: Layout = field(default_factory=Layout)


@contextmanager
def reading(
    module: nn.Module, read: Callable[[str, Tensor], None], taps: Collection[str] | None = None
) -> Iterator[None]:
    """Call `read(tap, output)` whenever a submodule has run; to be entered anew for every forward pass.

    Args:
        module: The network.
        read: Gets the tap's name and the output as the module returned it, or the tensor in it (see `activation_of`).
            It must copy what it keeps: a later in-place operation may overwrite the output.
        taps: The taps to read; None reads every submodule.

    Yields:
        Nothing; run the forward pass inside the block.
    """
    with hooked(module, read, taps), torch.compiler.set_stance("force_eager"):  # compiled, it would not call the hooks
        yield


@contextmanager
def hooked(
    module: nn.Module, read: Callable[[str, Tensor], None], taps: Collection[str] | None = None
) -> Iterator[None]:
    """Do the same as `reading` for a forward pass that must stay as it is: what is compiled stays so, and is not read.

    Args:
        module: The network.
        read: Gets the tap's name and the output.
        taps: The taps to read; None reads every submodule.

    Yields:
        Nothing; run the forward pass inside the block.
    """

    def after(tap: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found = activation_of(output)
        if found is not None and (taps is None or tap in taps):
            read(tap, found)

    with _watched(module, after, None if taps is None else {tap.split("#")[0] for tap in taps}):
        yield


@contextmanager
def _watched(
    module: nn.Module, after: Callable[[str, nn.Module, Any, Any], None], wanted: Collection[str] | None = None
) -> Iterator[None]:
    """Call `after(tap, module, inputs, output)` whenever a submodule, of those wanted, has run."""
    runs: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def run(part: nn.Module, inputs: Any, keywords: Any, output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            tap = name if runs[name] == 1 else f"{name}#{runs[name]}"
            after(tap, part, (*inputs, *keywords.values()), output)

        return run

    handles = [
        part.register_forward_hook(hook(name), with_kwargs=True)
        for name, part in _layers(module).items()
        if name not in {"", INPUT} and (wanted is None or name in wanted)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """A network and its submodules by name, without those that compute a weight, as `weight_norm` and `spectral_norm`.

    What these give has no samples, though it may have as many rows as there are; the layer whose weight they compute is
    one without children.
    """
    of_weights = {
        inside
        for part in module.modules()
        if is_parametrized(part)
        for inside in part.get_submodule("parametrizations").modules()
    }
    return {name: part for name, part in module.named_modules() if part not in of_weights}


def activation_of(output: Any) -> Tensor | None:
    """The tensor that a module's output stands for.

    Args:
        output: A tensor; or a tuple or list, as recurrent and attention modules return, a dictionary, as Hugging Face's
            outputs are, or a dataclass.

    Returns:
        The tensor; of several `last_hidden_state` or `logits`, else the first floating-point one, else the first.
    """
    if isinstance(output, Tensor):
        return output
    if is_dataclass(output) and not isinstance(output, Mapping):
        output = vars(output)
    if isinstance(output, Mapping):
        output = [*(output[name] for name in MAIN_OUTPUTS if name in output), *output.values()]
    tensors = [x for x in output if isinstance(x, Tensor)] if isinstance(output, (tuple, list)) else []
    return next((x for x in tensors if x.is_floating_point()), tensors[0] if tensors else None)


@dataclass(frozen=True)
class _Run:
    """What a module gave in a forward pass.

    Attributes:
        part: The module.
        leaf: Whether none of its children ran.
        shape: Of its output, if that is a floating-point tensor.
        unread: What else it gave.
        axis: Where the output has its channels, if they were followed.
    """

    part: nn.Module
    leaf: bool
    shape: tuple[int, ...] | None = None
    unread: str = ""
    axis: ChannelAxis | None = None


def find_taps(
    module: nn.Module,
    forward: Callable[[Tensor], Any],
    image: Tensor,
    channels: str | None = None,
    left_out: dict[str, str] | None = None,
) -> list[Tap]:
    """Run the network and list its taps in order of execution.

    It is run once more on another number of samples: an axis of an activation that follows it is that of the samples.
    In that pass the channels are followed, see `ChannelAxes`.

    Args:
        module: The network, in the state (see `frozen`) it will be measured in.
        forward: Runs the network on a batch of images; it gets a copy, which it may overwrite.
        image: A batch, (n, ...).
        channels: Where activations have their channels whose module does not tell: 'first' or 'last'.
        left_out: Gets the modules that 'all' would mean but that cannot be read, and why.

    Returns:
        The input, and every module whose output (see `activation_of`) is a floating-point tensor with one row per
        sample.
    """
    parts = _layers(module)
    own = {name: part.natural_taps for name, part in parts.items() if hasattr(part, "natural_taps")}
    left_out = {} if left_out is None else left_out
    size, few = len(image), 2 if len(image) == 3 else 3
    runs = _run_once(module, forward, image.clone(), None)
    followed = ChannelAxes(image[torch.arange(few, device=image.device) % size])
    try:
        again = _run_once(module, forward, followed.image, followed)
    except Exception:  # it takes batches of this size only
        again = {}
    if all(run.shape == runs[tap].shape for tap, run in again.items() if tap in runs):
        again = {}  # it does not run on what it is given
    taps = _input_tap(image, followed.of_image, channels, left_out)
    for tap, run in runs.items():
        other = again.get(tap, _Run(run.part, run.leaf))
        samples = None if run.shape is None else _samples_axis(run, size, other.shape, few)
        leaf = run.leaf and not isinstance(run.part, TRANSPARENT)
        natural = _natural(tap, leaf, own)
        if run.shape is not None and samples is not None:
            layout = Layout(samples, _channels(run, other.axis, samples, channels))
            taps.append(Tap(tap, prod(run.shape) // size, leaf, natural, layout))
        elif leaf or natural:
            left_out[tap] = run.unread or f"gave {run.shape}, no row for each of {size} samples"
    ran = {part for run in runs.values() for part in (run.part.modules() if run.leaf else [run.part])}
    for name, part in parts.items():
        if part not in ran and not {*part.children()} & {*parts.values()} and any(True for _ in part.parameters()):
            left_out[name] = "did not run"  # losses and metrics, which have no parameters, are no layers
    return taps


def _run_once(
    module: nn.Module, forward: Callable[[Tensor], Any], image: Tensor, followed: ChannelAxes | None
) -> dict[str, _Run]:
    """What every module gives in a forward pass, by tap, in order of execution."""
    runs: dict[str, _Run] = {}
    ran: set[nn.Module] = set()

    def note(tap: str, part: nn.Module, inputs: Any, output: Any) -> None:
        leaf = not any(inside in ran for inside in part.modules() if inside is not part)
        ran.add(part)
        found = activation_of(output)
        if found is None:
            runs[tap] = _Run(part, leaf, unread=f"gave no tensor but {type(output).__name__}")
        elif not found.is_floating_point():
            runs[tap] = _Run(part, leaf, unread=f"gave {str(found.dtype).removeprefix('torch.')}, not floating point")
        elif found.layout != torch.strided:
            runs[tap] = _Run(part, leaf, unread=f"gave a {str(found.layout).removeprefix('torch.')} tensor")
        else:
            axis = followed.note(part, leaf, inputs, found) if followed else None
            runs[tap] = _Run(part, leaf, tuple(found.shape), axis=axis)

    with _watched(module, note), torch.compiler.set_stance("force_eager"):
        forward(image)
    return runs


def _samples_axis(run: _Run, size: int, other: tuple[int, ...] | None, few: int) -> int | None:
    """The axis of an output that has one entry per sample; `other` is its shape for another number of samples."""
    shape = run.shape or ()
    follow = [axis for axis in (0, 1) if len(shape) > axis + 1 and shape[axis] == size]
    if other is not None:
        follow = [axis for axis in follow if len(other) == len(shape) and other[axis] == few]
    elif 1 in follow:
        follow = [1] if sequence_first(run.part) else [0] if 0 in follow else []
    return follow[0] if follow else None


def _channels(run: _Run, axis: ChannelAxis | None, samples: int, asked: str | None) -> int | None:
    """The axis of the channels once the samples come first."""
    dimensions = len(run.shape or ())
    if dimensions < 3:
        return None
    axis = axis or channel_axis(run.part, dimensions)
    place = {"first": 1, "last": dimensions - 1}[asked] if asked and not axis.sure else axis.place
    return dimensions - 1 if place == samples else place or 1


def _input_tap(image: Tensor, axis: ChannelAxis | None, asked: str | None, left_out: dict[str, str]) -> list[Tap]:
    """The tap of the input, unless it consists of whole numbers such as the tokens of a text."""
    if image.ndim < 2 or not (image.is_floating_point() or image.dtype == torch.uint8):
        left_out[INPUT] = f"is {str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}, not floating point"
        return []
    place = axis.place if axis else None
    if asked and image.ndim > 2 and not (axis and axis.sure):
        place = {"first": 1, "last": image.ndim - 1}[asked]
    return [Tap(INPUT, image[0].numel(), leaf=True, natural=True, layout=Layout(0, place))]


def _natural(tap: str, leaf: bool, own: Mapping[str, Any]) -> bool:
    """Whether a tap is one of those that the network it lies in names itself; any leaf will do if it names none."""
    for name, globs in own.items():
        below = tap.removeprefix(f"{name}." if name else "")
        if not name or below != tap:
            return any(fnmatchcase(below, glob) and below.count(".") == glob.count(".") for glob in globs)
    return leaf


def select_taps(
    patterns: str | Sequence[str], available: Sequence[Tap], left_out: Mapping[str, str] | None = None
) -> list[Tap]:
    """Choose taps by name, by glob or all of them.

    Args:
        patterns: 'natural', 'all', a tap's name, a glob such as '*.relu*', or a list of these.
        available: The taps there are, from `find_taps`.
        left_out: What cannot be read, and why, from there too.

    Returns:
        The chosen taps in order of execution, each once.

    Raises:
        ValueError: If a pattern chooses nothing; the message has the reason, or names the nearest taps.
    """
    chosen: set[str] = set()
    names = [tap.name for tap in available]
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = {tap.name for tap in available if _matches(tap, pattern)}
        if not matches:
            for name, reason in (left_out or {}).items():
                if fnmatchcase(name, pattern):
                    raise ValueError(f"tap {name!r} cannot be read: it {reason}")
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
    reduce: Mapping[str, Callable[[Tensor], Tensor]],
    missing: dict[str, str] | None = None,
) -> dict[str, Tensor]:
    """Run the network on a batch and return the reduced output at every tap, in the order of `reduce`.

    Args:
        module: The network, frozen.
        forward: Runs the network on a batch of images; it gets a copy, which it may overwrite.
        image: A batch, (n, ...).
        reduce: By tap to read (see `select_taps`), what turns its activation into new features (n, d), at once: the
            activation may not outlive the pass. `by_layer` makes one for every tap.
        missing: Gets the taps that gave no row for every sample of this batch, and why; without it they are an error.

    Returns:
        Features (n, d) by tap.

    Raises:
        ValueError: If a tap gave no row for every sample, and there is nowhere to note it.
    """
    features: dict[str, Tensor] = {}
    reasons = dict.fromkeys(reduce, "was not reached: the network ran other modules than at the start")

    def read(tap: str, output: Tensor) -> None:
        rows = reduce[tap](output) if output.is_floating_point() and output.ndim > 1 else output
        if rows.ndim == 2 and len(rows) == len(image):
            features[tap] = rows
        else:
            reasons[tap] = f"gave {tuple(output.shape)}, no row for each of {len(image)} samples"

    if INPUT in reduce:
        features[INPUT] = reduce[INPUT](image if image.is_floating_point() else image.float())
    with reading(module, read, reduce):
        forward(image.clone())
    absent = {tap: reason for tap, reason in reasons.items() if tap not in features}
    if missing is not None:
        missing |= absent
    elif absent:
        raise ValueError("; ".join(f"tap {tap} {reason}" for tap, reason in absent.items()))
    return {tap: features[tap] for tap in reduce if tap in features}
