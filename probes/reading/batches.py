"""What a batch of anybody's consists of.

Images and labels are found by what the user says (`reading`), else by the names and places that people use. Nothing is
guessed where another reading is as likely: then the message says what was got and what to pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce as fold
from typing import Any

import numpy as np
import torch
from torch import Tensor

TRUE, GIVEN = "true_label", "given_label"
IMAGES = ("image", "images", "img", "imgs", "pixel_values", "x", "input", "inputs", "data", "input_values")
TOKENS = "input_ids"
LABELS = ("given_label", "label", "labels", "y", "target", "targets", "label_ids")

BatchKeys = Mapping[str, str | int]
BatchReading = BatchKeys | Callable[[Any], Any]


class UnreadableBatch(TypeError):
    """A batch or a network of which it is not clear what to probe; the message says what would be right."""


@dataclass(frozen=True)
class LabelledBatch:
    """Images of a batch with their labels.

    Attributes:
        image: What the network sees: (n, ...), or a mapping of tensors, such as token ids with their mask.
        given_label: The class that training sees: (n), int64; below 0 where there is none.
        true_label: The class that the data really have: (n), int64; the same tensor where only one kind is known.
        whole: The batch as the loader gives it.
        how: What was taken for image and label, in words.
    """

    image: Any
    given_label: Tensor
    true_label: Tensor
    whole: Any
    how: str

    def __len__(self) -> int:
        return len(self.given_label)

    @property
    def rows(self) -> Tensor:
        """A tensor with one row per sample: the images or, of several tensors, the first such."""
        return next(part for part in tensors(self.image) if part.ndim and len(part) == len(self))

    @property
    def parts(self) -> dict[Any, Any]:
        """What the batch names, and what the image does if it is a mapping."""
        return {**parts_of(self.whole), **(self.image if isinstance(self.image, Mapping) else {})}

    def named(self, name: str) -> Any:
        """The part that a parameter of this name needs; None if there is none."""
        if name in self.parts:
            return self.parts[name]
        if name in IMAGES or (name == TOKENS and not self.rows.is_floating_point()):
            return self.image
        return self.true_label if name == TRUE else self.given_label if name in LABELS else None


def read_batch(batch: Any, reading: BatchReading | None = None, reader: str = "probe") -> LabelledBatch:
    """Find images and labels in a batch.

    Understood without being told: `(image, label, ...)`; `(index, image, label)`, where the first is a whole number per
    sample and the second no label; two views of the images, as `((view, view), label)` or `(view, view, label)`, of
    which the first is taken; and named parts (of dictionaries, named tuples, data classes or objects): an image called
    image, images, img, imgs, pixel_values, x, input, inputs, data or input_values, or input_ids with what belongs to
    it; a label called label, labels, y, target, targets, label_ids or given_label, and true_label where it is another.

    Args:
        batch: As a loader gives it.
        reading: What it consists of, where that is not understood: names or places of `image`, `label` and, if there is
            another one, `true_label`, such as `{"image": "pixel_values", "label": "labels"}`, `{"image": 1,
            "label": 2}` or, for what lies inside, `{"image": "view.0", ...}`; or a function of the batch that returns
            (image, label), (image, label, true_label) or a mapping with these names.
        reader: Who reads, for the message.

    Returns:
        The images and, as int64, the labels. Whole numbers of any width and truth values (two classes) are labels,
        (n, 1) as well as (n).

    Raises:
        UnreadableBatch: If it is not clear what is what, labels are no classes, or the function given raises (then
            that is the cause); with what was got.
    """
    try:
        return _read(batch, reading)
    except _Unclear as unclear:
        raise UnreadableBatch(
            f"{reader} needs batches (image, label), or with named parts such as image and label, with the class of "
            f"each image as a whole number; got {described(batch)}: {unclear}"
        ) from unclear.__cause__


class _Unclear(Exception):
    """Why a batch is not understood."""


SAY = "say what is what with batch, such as {image: 0, label: 1}, or names, or a function of the batch"


def _read(batch: Any, reading: BatchReading | None) -> LabelledBatch:
    """Find images and labels.

    Raises:
        _Unclear: If that cannot be done.
    """
    found, how = _asked_for(batch, reading) if reading is not None else _understood(batch)
    image, label, true = found["image"], found["label"], found.get(TRUE)
    if isinstance(image, (tuple, list)) and _same_shapes(image):
        image, how = image[0], f"{how}; of {len(image)} views the first"
    image = _tensor(image, "image") if isinstance(image, np.ndarray) else image
    given = _classes(label)
    true = given if true is None or true is label else _classes(true)
    sizes = {len(part) for part in tensors(image) if part.ndim}
    if not sizes:
        raise _Unclear(f"the image is {described(image)}, no tensor")
    if {len(given), len(true)} - sizes:
        raise _Unclear(f"there are {len(given)} labels for an image of {described(image)}")
    return LabelledBatch(image, given, true, batch, how)


def _asked_for(batch: Any, reading: BatchReading) -> tuple[dict[str, Any], str]:
    """Image and labels as the user says.

    Raises:
        _Unclear: If they are not there.
    """
    if not isinstance(reading, Mapping):
        try:
            found = reading(batch)
        except Exception as error:
            raise _Unclear(f"the function given as batch raised {_in_words(error)}") from error
        names = ("image", "label", TRUE)
        if isinstance(found, Mapping) and {"image", "label"} <= {*found} <= {*names}:
            return dict(found), "the function given as batch"
        if isinstance(found, (tuple, list)) and len(found) in {2, 3}:
            return dict(zip(names, found, strict=False)), "the function given as batch"
        raise _Unclear(f"the function given as batch must return (image, label), not {described(found)}")
    check_reading(reading)
    how = ", ".join(f"{name} {key}" for name, key in reading.items())
    return {name: _at(batch, key) for name, key in reading.items()}, how


def check_reading(reading: Any) -> None:
    """Refuse names of parts that mean nothing.

    Args:
        reading: The argument `batch`; functions and None pass.

    Raises:
        ValueError: If it does not say where image and label are.
    """
    known = {"image", "label", TRUE}
    if isinstance(reading, Mapping) and not ({"image", "label"} <= {*reading} <= known):
        raise ValueError(
            f"batch must say where image and label (and true_label) are, got {', '.join(map(str, reading))}"
        )


def _at(batch: Any, key: str | int) -> Any:
    """The part of a batch with this name or number, or inside such parts.

    Raises:
        _Unclear: If there is none.
    """

    def part(whole: Any, step: str | int) -> Any:
        named = parts_of(whole)
        if step in named:
            return named[step]
        number = int(step) if str(step).lstrip("-").isdigit() else None
        if number is not None and isinstance(whole, (tuple, list, Mapping)):
            return whole[number]
        raise KeyError(step)

    try:
        whole = isinstance(key, int) or key in parts_of(batch)
        return part(batch, key) if whole else fold(part, str(key).split("."), batch)
    except (KeyError, IndexError):
        raise _Unclear(f"it has no part {key}, which batch asks for") from None


def _understood(batch: Any) -> tuple[dict[str, Any], str]:
    """Image and labels by names or places.

    Raises:
        _Unclear: If there are no such.
    """
    parts = parts_of(batch)
    if parts and (found := _by_name(parts)):
        return found
    if isinstance(batch, (tuple, list)):
        return _by_place(batch)
    missing = LABELS[1:] if not {*LABELS} & {*parts} else (*IMAGES, TOKENS)
    raise _Unclear(f"there is no part called {', '.join(missing)}; {SAY}" if parts else SAY)


def _by_name(parts: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Image and labels by the names that people give them; None if a name is missing.

    Raises:
        _Unclear: If several parts have such names.
    """
    labels = [name for name in LABELS if name in parts]
    images = [name for name in IMAGES if name in parts]
    for kind, names in {"image": images, "label": labels}.items():
        if len({id(parts[name]) for name in names}) > 1:
            raise _Unclear(f"any of {', '.join(names)} may be the {kind}; {SAY}")
    if not labels or not (images or TOKENS in parts):
        return None
    image: Any = parts[images[0]] if images else _with_mask(parts)
    found = {"image": image, "label": parts[labels[0]], TRUE: parts.get(TRUE)}
    return found, f"{images[0] if images else TOKENS} and {labels[0]}"


def _with_mask(parts: Mapping[str, Any]) -> Any:
    """Token ids, with the mask and whatever else of their batch is a tensor and no label."""
    rest = {name: part for name, part in parts.items() if isinstance(part, Tensor) and name not in {*LABELS, TRUE}}
    return rest if len(rest) > 1 else parts[TOKENS]


def _by_place(batch: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Image and label by the places that people give them.

    Raises:
        _Unclear: If there may be others.
    """
    if len(batch) < 2:
        raise _Unclear("there is no label")
    first, second = batch[:2]
    a_class = [_is_a_class(part) for part in batch[:3]]
    if a_class[0] and not a_class[1] and len(a_class) > 2 and a_class[2]:
        return {"image": second, "label": batch[2]}, "(index, image, label)"
    if a_class[0] and isinstance(second, Tensor) and second.ndim > 1 and not a_class[1]:
        raise _Unclear(f"the first part looks like a label or an index, the second like the image; {SAY}")
    if not a_class[1] and len(a_class) > 2 and a_class[2] and _same_shapes([first, second]):
        return {"image": first, "label": batch[2]}, "(image, image, label); of 2 views the first"
    return {"image": first, "label": second}, "(image, label)"


def _is_a_class(part: Any) -> bool:
    """Whether it is one whole number per sample."""
    return isinstance(part, Tensor) and _fault(part) is None


def _same_shapes(parts: Sequence[Any]) -> bool:
    tensors = [part for part in parts if isinstance(part, Tensor) and part.ndim > 1]
    return len(parts) > 1 and len(tensors) == len(parts) and len({part.shape for part in tensors}) == 1


def _classes(label: Any) -> Tensor:
    """Labels as int64 (n).

    Raises:
        _Unclear: If they are no classes.
    """
    if isinstance(label, np.ndarray) or (isinstance(label, (tuple, list)) and all(isinstance(x, int) for x in label)):
        label = _tensor(label, "label")
    if not isinstance(label, Tensor):
        raise _Unclear(f"the label is {described(label)}; {SAY}")
    if fault := _fault(label):
        raise _Unclear(fault)
    return label.reshape(len(label)).long()


def _tensor(part: Any, name: str) -> Tensor:
    """An array or a list of numbers as a tensor.

    Raises:
        _Unclear: If torch has none for its kind.
    """
    try:
        return torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _Unclear(
            f"the {name} is {described(part)}, of which no tensor can be made ({_in_words(error)})"
        ) from error


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _fault(label: Tensor) -> str | None:
    """What a tensor is that has no class per sample, and what would be right; None if it has."""
    shape = f"labels of shape {tuple(label.shape)}"
    if label.ndim == 0:
        return f"{shape} are one for all samples"
    if label.ndim > 2:
        return f"{shape} look like a class per pixel (segmentation); probes need one class per image"
    if label.ndim == 2 and label.shape[1] != 1:
        return (
            f"{shape} look like several labels per image (multi-label, one-hot or mixed ones); probes need one class "
            "per image, such as label.argmax(1), from a function given as batch"
        )
    if label.is_floating_point() or label.is_complex():
        return (
            f"labels of {_kind(label)} look like numbers to predict (regression); probes need classes: if these are "
            "classes give label.long(), from a function given as batch"
        )
    return None


def parts_of(whole: Any) -> dict[Any, Any]:
    """The named parts of a batch, whatever holds them; none of tensors and of plain tuples."""
    if isinstance(whole, Mapping):
        return dict(whole)
    if isinstance(whole, Tensor):
        return {}
    if isinstance(whole, tuple):
        return dict(zip(getattr(whole, "_fields", ()), whole, strict=False))
    if is_dataclass(type(whole)):
        return {field.name: getattr(whole, field.name) for field in fields(whole)}
    if callable(getattr(whole, "keys", None)) and hasattr(whole, "__getitem__"):  # as TensorDict
        return {name: whole[name] for name in whole.keys()}
    return dict(getattr(whole, "__dict__", {}))


def tensors(whole: Any, depth: int = 3) -> list[Tensor]:
    """The tensors in anything, to some depth, as objects may hold themselves."""
    if isinstance(whole, Tensor):
        return [whole]
    parts = whole if isinstance(whole, (tuple, list)) else parts_of(whole).values()
    return [tensor for part in parts for tensor in tensors(part, depth - 1)] if depth else []


def described(whole: Any, depth: int = 2) -> str:
    """Type, names and shapes of anything, in words."""
    if isinstance(whole, Tensor):
        return f"{_kind(whole)} {tuple(whole.shape)}"
    if isinstance(whole, np.ndarray):
        return f"array {whole.dtype} {whole.shape}"
    name, inside = type(whole).__name__, parts_of(whole)
    if inside and depth:
        shown = [f"{key}: {described(part, depth - 1)}" for key, part in list(inside.items())[:8]]
        return f"{name} with {', '.join(shown)}"
    if (
        isinstance(whole, (tuple, list))
        and depth
        and any(isinstance(part, (Tensor, tuple, list, Mapping)) for part in whole)
    ):
        return f"{name} of ({', '.join(described(part, depth - 1) for part in whole[:8])})"
    if isinstance(whole, (tuple, list)) and whole:
        return f"{name} of {len(whole)} {type(whole[0]).__name__}"
    return name


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
