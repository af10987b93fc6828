"""How anybody's network is run on a batch.

Whether its forward takes the images, the batch or keywords is found out by its signature and, where that allows
several, by trying them once.
"""

import re
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce as fold
from inspect import Parameter, signature
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor, nn

from stratoscope.probes.reading.batches import (
    LABELS,
    TRUE,
    LabelledBatch,
    UnreadableBatch,
    described,
    parts_of,
    tensors,
)
from stratoscope.probes.reading.taps import Tap, find_taps

# what people call a parameter that takes the whole batch
BATCH = ("batch", "batch_data", "batch_dict", "data_batch", "data_dict", "input_dict", "sample", "samples")
LOGITS = ("logits", "logit", "output", "outputs", "prediction", "predictions")
VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

Forward = str | Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Call:
    """How a network is run on a batch. It gets copies, so that what it does to its input in place stays with it.

    Attributes:
        forward: The argument `forward`: None for the network itself, a method's or submodule's name, or a function.
        takes: image, batch or keywords.
        names: Of the keywords.
    """

    forward: Forward | None = None
    takes: str = "image"
    names: tuple[str, ...] = ()

    def __call__(self, module: nn.Module, batch: LabelledBatch, image: Tensor | None = None) -> Any:
        """Run the network and return its output.

        Args:
            module: The network.
            batch: The batch.
            image: In place of `batch.rows`, to be overwritten if the network likes; it may have another number of
                rows, to which the rest of the batch is cut, or repeated.
        """
        run, n, old = _target(module, self.forward), len(batch), batch.rows
        new = old.clone() if image is None else image
        places = torch.arange(len(new), device=new.device) % n

        def swap(tensor: Tensor) -> Tensor:
            if tensor is old:
                return new
            fits = len(new) == n or not tensor.ndim or len(tensor) != n
            return tensor.clone() if fits else tensor[places.to(tensor.device)]

        if self.takes == "keywords":
            answer = run(**{name: swapped(batch.named(name), swap) for name in self.names})
        else:
            answer = run(swapped(batch.image if self.takes == "image" else batch.whole, swap))
        return tuple(answer) if isinstance(answer, GeneratorType) else answer  # one that yields runs as it is read

    def __str__(self) -> str:
        name = "forward" if self.forward is None else self.forward if isinstance(self.forward, str) else "the function"
        return f"{name}({', '.join(f'{name}=' for name in self.names) or self.takes})"


def choose_call(
    module: nn.Module,
    forward: Forward | None,
    batch: LabelledBatch,
    reader: str = "probe",
    run: Callable[[Call], Any] | None = None,
) -> Call:
    """Find out how a network is run on a batch.

    What the signature allows is tried, the likeliest first, until one runs and answers with a row per sample; or else
    the first that runs at all.

    Args:
        module: The network, frozen.
        forward: The name of a method or submodule that stands for the network's forward; or a function of the network
            and the image, as `read_batch` finds it, which is taken as it is. None takes the network's own.
        batch: A batch.
        reader: Who asks, for the message.
        run: Tries a call and returns what the network answers.

    Returns:
        The call.

    Raises:
        UnreadableBatch: If there is no such method, or nothing runs; with the first error.
    """
    run = run or (lambda call: call(module, batch))
    target = _target(module, forward)
    first: Exception | None = None
    ran: Call | None = None
    for call in _calls(target, forward, batch):
        try:
            answer = tensors(run(call))
        except Exception as error:
            first = first or error
        else:
            if not answer or any(part.ndim and len(part) == len(batch) for part in answer):
                return call
            ran = ran or call
    if ran is not None:
        run(ran)  # so that the last pass is that of the call which is taken
        return ran
    reason = f"{type(first).__name__}: {' '.join(str(first).split())[:300]}" if first else "nothing fits its arguments"
    name = forward if isinstance(forward, str) else "forward" if forward is None else "the function given as forward"
    raise UnreadableBatch(
        f"{reader} cannot run {type(module).__name__}'s {name} on {described(batch.image)}, from "
        f"{described(batch.whole)} ({reason}): say how with forward, the name of a method or a function of "
        "(module, image), or with batch"
    ) from first


def find_call(
    module: nn.Module,
    forward: Forward | None,
    batch: LabelledBatch,
    channels: str | None = None,
    left_out: dict[str, str] | None = None,
    reader: str = "probe",
    known: Call | None = None,
) -> tuple[Call, list[Tap], Any]:
    """Find out how a network is run, and the taps it has then, in one go: see `choose_call` and `find_taps`.

    Args:
        module: The network, frozen.
        forward: See `choose_call`.
        batch: A batch.
        channels: See `find_taps`.
        left_out: Gets the modules that cannot be read, and why.
        reader: Who asks, for the message.
        known: How it is run, if that is known.

    Returns:
        The call, the taps, and what the network answers.

    Raises:
        UnreadableBatch: If it cannot be run.
    """
    found: list[Tap] = []
    answers: list[Any] = []
    left_out = {} if left_out is None else left_out

    def run(call: Call) -> Any:
        answers.clear()
        left_out.clear()
        found[:] = find_taps(
            module, lambda image: answers.append(call(module, batch, image)), batch.rows, channels, left_out
        )
        return answers[0]

    if known is None:
        known = choose_call(module, forward, batch, reader, run)
    else:
        run(known)
    return known, found, answers[0]


def _target(module: nn.Module, forward: Forward | None) -> Callable[..., Any]:
    """What is called.

    Raises:
        UnreadableBatch: If there is no method or submodule of this name.
    """
    if forward is None:
        return module
    if not isinstance(forward, str):
        return lambda image: forward(module, image)
    try:
        found = fold(getattr, forward.split("."), module)
    except AttributeError:
        found = None
    if callable(found):
        return found
    own = [name for name in {*vars(type(module)), *dict(module.named_children())} if not name.startswith("_")]
    near = get_close_matches(forward, own, n=3, cutoff=0.3)
    raise UnreadableBatch(
        f"{type(module).__name__} has no method or submodule {forward!r}, which forward asks for"
        + (f": nearest are {', '.join(near)}" if near else "")
    )


def _calls(target: Callable[..., Any], forward: Forward | None, batch: LabelledBatch) -> Iterator[Call]:
    """Ways to call it that its signature allows, the likeliest first."""
    if forward is not None and not isinstance(forward, str):
        yield Call(forward)
        return
    try:
        parameters = list(signature(target.forward if isinstance(target, nn.Module) else target).parameters.values())
    except (TypeError, ValueError):
        parameters = [Parameter("image", Parameter.POSITIONAL_ONLY)]
    open_ended = {p.kind for p in parameters} & {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    places = [p for p in parameters if p.kind in {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}]
    needed = {p.name for p in parameters if p.default is Parameter.empty and p.kind not in VARIABLE}
    nameable = [p.name for p in parameters if p.kind in {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}]
    # labels only where it insists: given them, many networks also compute a loss
    optional = {*batch.parts} - {*LABELS, TRUE}
    names = [n for n in nameable if (n in needed or n in optional) and batch.named(n) is not None]
    if Parameter.VAR_KEYWORD in open_ended and isinstance(batch.image, Mapping):
        names += [name for name in batch.image if name not in names]
    one = needed <= {p.name for p in places[:1]} and bool(places or Parameter.VAR_POSITIONAL in open_ended)
    by_keywords = [Call(forward, "keywords", tuple(names))] if names and needed <= {*names} else []
    by_place = bool(places) and names == [places[0].name] and batch.named(names[0]) is batch.image
    if one and by_place:
        by_keywords = []  # the same as the image
    by_image, by_batch = ([Call(forward, takes)] if one else [] for takes in ("image", "batch"))
    if places and _wants_the_batch(places[0]):
        yield from [*by_batch, *by_image, *by_keywords]
    elif names and not by_place:
        yield from [*by_keywords, *by_image, *by_batch]
    else:
        yield from [*by_image, *by_batch, *by_keywords]


def _wants_the_batch(parameter: Parameter) -> bool:
    annotation = "" if parameter.annotation is Parameter.empty else str(parameter.annotation)
    return parameter.name in BATCH or bool(re.search(r"\b([dD]ict|Mapping|[tT]uple|[lL]ist|\w*Batch\w*)\b", annotation))


def swapped(whole: Any, swap: Callable[[Tensor], Tensor], depth: int = 3) -> Any:
    """The same with other tensors in the place of those that `tensors` finds; what holds none of them stays itself."""
    if isinstance(whole, Tensor):
        return swap(whole)
    if not depth or isinstance(whole, (type, nn.Module)) or not tensors(whole, depth):
        return whole
    if isinstance(whole, tuple) and hasattr(whole, "_fields"):
        return type(whole)(*(swapped(part, swap, depth - 1) for part in whole))
    if isinstance(whole, (tuple, list)):
        return type(whole)(swapped(part, swap, depth - 1) for part in whole)
    changed = {name: swapped(part, swap, depth - 1) for name, part in parts_of(whole).items()}
    if type(whole) is dict:
        return changed
    other = copy(whole)
    if isinstance(whole, UserDict):  # such as Hugging Face's BatchEncoding
        other.data = changed
    elif hasattr(whole, "__setitem__"):
        for name, part in changed.items():
            other[name] = part
    else:
        vars(other).update(changed)
    return other


def logits_of(answer: Any, n: int) -> Tensor | None:
    """The logits (n, classes) in what a network answers; None if there are none, or it is not clear which they are.

    Args:
        answer: A tensor, or a tuple, dictionary or object with tensors: its part called logits, or the only one, or
            the first of several, of this form and one width.
        n: Number of samples.
    """
    parts = {} if isinstance(answer, Tensor) else parts_of(answer)
    named = [parts[name] for name in LOGITS if name in parts]
    for candidates in (named, tensors(answer)):
        found = [
            x for x in candidates if isinstance(x, Tensor) and x.ndim == 2 and len(x) == n and x.is_floating_point()
        ]
        if found and len({x.shape for x in found}) == 1:
            return found[0]
    return None
