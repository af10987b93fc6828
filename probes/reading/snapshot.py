"""All that a network holds, so that it can be put back: by name, by identity and by value.

What is followed from the network: the attributes of its modules and, in them, tensors, arrays, random generators,
containers and plain objects, to some depth. Modules that are kept in a list or hidden from `modules()` belong to it as
well as attributes of the modules' own classes; trainer, loggers, data sets and optimisers do not.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from operator import length_hint
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

DEPTH, MOST = 4, 10_000  # containers within containers, and entries of those whose entries are followed
# Objects of these packages' classes, or of classes made from them, are followed only if they are modules.
OTHERS = {"torch", "lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "wandb", "weakref", "logging"}
OTHERS |= {"threading", "_thread", "concurrent", "multiprocessing", "pathlib", "functools", "enum"}
CODE = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, property, staticmethod, classmethod)
GENERATORS: tuple[tuple[type, Callable[[Any], Any], Callable[[Any, Any], Any]], ...] = (
    (torch.Generator, torch.Generator.get_state, torch.Generator.set_state),
    (random.Random, random.Random.getstate, random.Random.setstate),
    (np.random.RandomState, lambda one: one.get_state(), lambda one, state: one.set_state(state)),
    (np.random.Generator, lambda one: one.bit_generator.state, lambda one, state: _set_bits(one, state)),
)


class Snapshot:
    """The state of a network.

    Memory is copied whole, as bytes, tensors' that are on another device to the CPU: so it is put back bit for bit,
    whatever shares it, and nothing is recorded as a change of the tensor. What is as it was is not written to, and
    arrays that cannot be written to, such as data mapped from a file, are not copied.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.entries: list[tuple[Any, Any]] = []  # containers, and what is in them
        self.tensors: list[tuple[Tensor, Tensor, bool, Tensor | None]] = []  # with data, requires_grad and grad
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}  # by address: bytes, and a copy of them
        self.arrays: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.generators: list[tuple[Any, Any, Callable[[Any, Any], Any]]] = []
        for _, held in reachable(module):
            self._take(held)

    def _take(self, held: Any) -> None:
        if isinstance(held, Tensor):
            leaf = held.is_leaf
            self.tensors.append((held, held.detach(), held.requires_grad, held.grad if leaf else None))
            for part in _strided(held):
                bytes_ = _bytes(part)
                if bytes_.numel() and bytes_.data_ptr() not in self.memory:
                    self.memory[bytes_.data_ptr()] = bytes_, bytes_.to("cpu", copy=True)
        elif isinstance(held, np.ndarray):
            if held.flags.writeable:  # not data that are mapped to be read
                self.arrays.append((held, held.copy()))
        elif isinstance(held, (dict, list, set, deque)):
            self.entries.append((held, _plain_copy(held)))
        elif isinstance(held, type):
            self.entries.append((held, _own_attributes(held)))
        elif known := next((known for known in GENERATORS if isinstance(held, known[0])), None):
            self.generators.append((held, known[1](held), known[2]))
        elif hasattr(held, "__dict__"):
            self.entries.append((vars(held), dict(vars(held))))

    def put_back(self) -> None:
        """Make the network what it was."""
        for held, before in self.entries:
            _refill(held, before)
        for tensor, data, requires_grad, gradient in self.tensors:
            if _place(tensor) != _place(data):
                tensor.data = data
            if tensor.is_leaf and tensor.grad is not gradient:
                tensor.grad = gradient
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)
        for bytes_, before in self.memory.values():
            if not _equal(bytes_, before):
                bytes_.copy_(before)
        for array, content in self.arrays:
            if array.flags.writeable and not _same_array(array, content):
                array[...] = content
        for generator, state, put in self.generators:
            put(generator, state)


def fingerprint(module: nn.Module) -> dict[str, Any]:
    """The state of a network as far as it can be seen, deeper than a `Snapshot` goes, by name of every part."""
    return {name: _seen(held) for name, held in reachable(module, 2 * DEPTH, 100 * MOST)}


def reachable(module: nn.Module, depth: int = DEPTH, most: int = MOST) -> Iterator[tuple[str, Any]]:
    """All that a module holds, each once, with its name: `layers.0.weight`, `cache[3]`.

    Args:
        module: The module.
        depth: How many containers and plain objects within each other are followed from each module.
        most: How many entries of a container.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, Any, int]] = [("", module, depth)]
    while waiting:
        name, held, left = waiting.pop()
        if id(held) in seen or not _counts(held):
            continue
        seen.add(id(held))
        yield name.lstrip("."), held
        left = depth if isinstance(held, nn.Module) else left - 1
        if left < 0:
            continue
        inside = _inside(name, held)
        if isinstance(held, nn.Module) or len(inside) <= most:
            waiting += [(below, part, left) for below, part in reversed(inside)]


def _counts(held: Any) -> bool:
    """Whether it is something that may change and is the network's."""
    if isinstance(held, (Tensor, nn.Module, np.ndarray, dict, list, tuple, set, deque, GeneratorType)):
        return not (isinstance(held, Tensor) and (held.is_meta or nn.parameter.is_lazy(held)))  # they have no values
    if isinstance(held, type):
        return _package(held) not in {*OTHERS, "builtins"}
    if isinstance(held, CODE) or any(_package(kind) in OTHERS for kind in type(held).__mro__):
        return isinstance(held, torch.Generator)
    iterates = hasattr(held, "__next__")
    return hasattr(held, "__dict__") or iterates or isinstance(held, tuple(kind for kind, _, _ in GENERATORS))


def _package(kind: type) -> str:
    return str(kind.__module__).split(".")[0]


def _inside(name: str, held: Any) -> list[tuple[str, Any]]:
    """What a thing holds, with its names."""
    if isinstance(held, Tensor):
        return [(f"{name}.grad", held.grad)] if held.is_leaf and held.grad is not None else []
    if isinstance(held, nn.Module):
        kinds = [kind for kind in type(held).__mro__ if issubclass(kind, nn.Module)]
        own = [(kind.__qualname__, kind) for kind in kinds]
        plain = [(f"{name}.{key}", part) for key, part in vars(held).items() if key not in _REGISTERED]
        below = [(f"{name}.{key}", part) for of in _REGISTERED for key, part in vars(held).get(of, {}).items()]
        registers = [(f"{name}.{of}", vars(held)[of]) for of in _REGISTERED if of in vars(held)]
        return [*below, *plain, *registers, *own]
    if isinstance(held, type):
        return [(f"{name}.{key}", part) for key, part in _own_attributes(held).items()]
    if isinstance(held, dict):
        return [(f"{name}[{key!r}]" if isinstance(key, (str, int)) else name, part) for key, part in held.items()]
    if isinstance(held, (list, tuple, deque)):
        return [(f"{name}[{place}]", part) for place, part in enumerate(held)]
    if isinstance(held, (set, np.ndarray, GeneratorType)):
        return []
    return [(f"{name}.{key}", part) for key, part in getattr(held, "__dict__", {}).items()]


_REGISTERED = ("_parameters", "_buffers", "_modules")


def _plain_copy(held: Any) -> Any:
    """The entries of a container, whatever class it is of."""
    return next(kind(held) for kind in (dict, list, set, deque) if isinstance(held, kind))


def _own_attributes(kind: type) -> dict[str, Any]:
    """The values that a class holds beside its methods."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and not isinstance(value, CODE) and not hasattr(value, "__get__")
    }


def _refill(held: Any, before: Any) -> None:
    """Make a container's entries what they were, where they are not."""
    if isinstance(held, type):
        now = _own_attributes(held)
        for name in now.keys() - before.keys():
            delattr(held, name)
        for name, value in before.items():
            if now.get(name, held) is not value:
                setattr(held, name, value)
        return
    same = len(held) == len(before) and all(a is b for a, b in zip(held, before, strict=True))
    if isinstance(held, dict):
        if not same or any(held[key] is not before[key] for key in before):
            if isinstance(held, OrderedDict):
                OrderedDict.clear(held)
                OrderedDict.update(held, before)
            else:
                dict.clear(held)
                dict.update(held, before)
    elif not same:
        held.clear()
        (held.update if isinstance(held, set) else held.extend)(before)


def _strided(tensor: Tensor) -> list[Tensor]:
    """The tensors with memory of their own that a tensor is made of."""
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        return [part for name in flatten()[0] for part in _strided(getattr(tensor, name))]
    return [tensor] if tensor.layout == torch.strided and not tensor.is_meta else []


def _bytes(tensor: Tensor) -> Tensor:
    """All memory that a tensor is part of: (bytes), uint8."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.detach().untyped_storage())


def _equal(bytes_: Tensor, before: Tensor) -> bool:
    if bytes_.numel() % 8 == 0:  # faster by words
        bytes_, before = bytes_.view(torch.int64), before.view(torch.int64)
    return torch.equal(bytes_, before.to(bytes_.device))


def _array_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array's values as bytes, those of a contiguous one where they are: (bytes), uint8."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _same_array(array: NDArray[Any], before: NDArray[Any]) -> bool:
    if array.dtype.hasobject:
        return array.shape == before.shape and all(a is b for a, b in zip(array.flat, before.flat, strict=True))
    return array.shape == before.shape and np.array_equal(_array_bytes(array), _array_bytes(before))


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor's values are, and how they are read."""
    if tensor.layout != torch.strided:
        return tensor.dtype, tensor.device, tensor.shape
    return tensor.data_ptr(), tensor.dtype, tensor.device, tensor.shape, tensor.stride()


def _seen(held: Any) -> Any:
    """What can be seen of a thing, to compare."""
    if isinstance(held, Tensor):
        parts = (part.detach().cpu().contiguous().view(-1).view(torch.uint8) for part in _strided(held))
        content = [blake2b(part.numpy().tobytes()).digest() for part in parts]
        return _place(held), held.requires_grad, content
    if isinstance(held, np.ndarray):
        values = held.flags.writeable and not held.dtype.hasobject
        return held.shape, held.dtype, blake2b(_array_bytes(held).data).digest() if values else None
    if isinstance(held, dict):
        return [(key, _plain(part)) for key, part in held.items()]
    if isinstance(held, (list, tuple, deque)):
        return [_plain(part) for part in held]
    if isinstance(held, set):
        return sorted(map(hash, held))
    if isinstance(held, GeneratorType):
        return held.gi_frame.f_lasti if held.gi_frame else None
    for kind, get, _ in GENERATORS:
        if isinstance(held, kind):
            return repr(get(held))
    entries = _own_attributes(held) if isinstance(held, type) else getattr(held, "__dict__", None)
    if entries is None:
        return repr(held), length_hint(held, -1)  # how far an iterator has come
    return [(key, _plain(part)) for key, part in entries.items()]


def _plain(part: Any) -> Any:
    """A number or text by its value, anything else by its identity."""
    return part if isinstance(part, (int, float, complex, str, bytes, type(None))) and part == part else id(part)


def _set_bits(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state
