"""Weights in files of others: where they are in what the file holds, and what they are called there."""

import re
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from stratoscope.files.integrity import check_intact

# where trainers put the weights beside the rest of a checkpoint
INSIDE = ("state_dict", "model_state_dict", "model")
# what DistributedDataParallel, torch.compile and those who wrap a network put before the names of its layers
PREFIX = re.compile(r"^(?:(?:module|_orig_mod|backbone|model|network)\.)+")
COMPILED = re.compile(r"\b_orig_mod\.")
DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # torchvision's files have norm.1 for norm1


def read_weights(file: str | Path, own: Collection[str], content: bytes | None = None) -> tuple[dict[str, Tensor], str]:
    """Read the weights of a network from a local file, without running code from it.

    Args:
        file: A file of `torch.save`, or of safetensors (by its ending .safetensors): a state dict, or a checkpoint that
            has one under state_dict, model_state_dict or model.
        own: The names of the network's own tensors.
        content: What the file holds, if it has been read already.

    Returns:
        Tensors by name, on the CPU, under the network's own names wherever they differ by a prefix such as module.
        only; and a line that says so, empty if all names are as they were.

    Raises:
        ValueError: If the file is not there or holds something else; its message begins with the file.
    """
    path = Path(file).expanduser()
    if content is None and not path.is_file():
        raise ValueError(f"{file} is not there: it must be the file of a state dict")
    safe = path.suffix == ".safetensors"
    try:
        if safe:
            found: Any = import_module("safetensors.torch").load(path.read_bytes() if content is None else content)
        else:
            found = torch.load(path if content is None else BytesIO(content), map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ValueError(f"{file} needs the package safetensors, which comes with timm") from error
    except UnpicklingError as error:
        raise ValueError(f"{file} must hold tensors only, and be written by torch.save") from error
    except Exception as error:  # both raise what their parsers happen to raise
        raise ValueError(f"{file} is damaged, or not written by {'safetensors' if safe else 'torch.save'}") from error
    return under_own_names(_state_dict(found, str(file)), own)


def weights_of_same(file: str | Path, own: Mapping[str, Tensor], leave: Collection[str] = ()) -> dict[str, Tensor]:
    """Read the weights of a network with the same layers, from a file that is looked at whole.

    Args:
        file: As of `read_weights`; beside it may lie its digest.
        own: The state dict of the network.
        leave: Names of layers whose weights need not be there.

    Returns:
        Tensors by the network's own names, on the CPU, without those left out.

    Raises:
        ValueError: If the file is not there or damaged, or is of another network: the first layer that differs is
            named.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        inside = path / "checkpoints" / "last.ckpt"
        raise ValueError(f"{file} is a directory: give {inside}" if inside.is_file() else f"no file {file}")
    content = path.read_bytes()
    check_intact(path, content)
    stored, renamed = read_weights(path, own, content)
    wanted = {name: one for name, one in own.items() if not {*leave} & {*name.split(".")}}
    for name, one in wanted.items():
        if name not in stored:
            raise ValueError(f"{name} is missing in {file}, which has {shown(stored)}")
        if (there := tuple(stored[name].shape)) != tuple(one.shape):
            raise ValueError(f"{name} is {there} in {file}, {tuple(one.shape)} in the model")
    for name, first in _tied(wanted).items():
        if not torch.equal(stored[name], stored[first]):
            raise ValueError(f"{name} and {first} are one weight in the model, and differ in {file}")
    if renamed:
        rank_zero_info(f"{file}: {renamed}")
    return {name: stored[name] for name in wanted}


def _tied(own: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are another one too, by the first name of which."""
    first: dict[tuple[Any, ...], str] = {}
    found = {}
    for name, one in own.items():
        place = one.data_ptr(), one.shape, one.stride(), one.dtype
        if one.numel() and first.setdefault(place, name) != name:
            found[name] = first[place]
    return found


def _state_dict(found: Any, file: str) -> dict[str, Tensor]:
    """The state dict in what a file holds.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(found, Mapping):
        if found and all(isinstance(part, Tensor) for part in found.values()):
            return dict(found)
        for key in INSIDE:
            if isinstance(inner := found.get(key), Mapping) and any(
                isinstance(part, Tensor) for part in inner.values()
            ):
                return {name: part for name, part in inner.items() if isinstance(part, Tensor)}
        there = f"its keys are {shown(map(str, found))}" if found else "it is empty"
    else:
        there = f"it is a {type(found).__name__}"
    raise ValueError(
        f"{file} must hold a state dict, which maps names to tensors, or one under {', '.join(INSIDE)}: {there}"
    )


def under_own_names(state: Mapping[str, Tensor], own: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """Rename tensors to the network's own names where only a prefix differs.

    Args:
        state: Tensors by name.
        own: The names of the network's own tensors.

    Returns:
        Tensors by name; and a line that says what was renamed, empty if nothing was.
    """
    places: dict[str, list[str]] = {}
    for name in own:
        places.setdefault(_plain(name), []).append(name)
    there = [_plain(name) for name in state]
    renamed: dict[str, str] = {}
    for name, plain in zip(state, there, strict=True):
        candidates = places.get(plain, [])
        if name not in own and len(candidates) == 1 and there.count(plain) == 1:
            renamed[name] = candidates[0]
    line = ", ".join(f"{name} as {renamed[name]}" for name in list(renamed)[:1])
    more = f" (and {len(renamed) - 1} more)" if len(renamed) > 1 else ""
    return {renamed.get(name, name): tensor for name, tensor in state.items()}, f"read {line}{more}" if renamed else ""


def load_what_fits(network: nn.Module, file: str) -> None:
    """Load the weights of a file; stem and head may be of another size, and are named in a warning then.

    Args:
        network: The network; nothing of it is changed if the file is another network's.
        file: A file that `read_weights` reads.

    Raises:
        ValueError: If the file cannot be read, or another layer than the first and the heads has no weights in it, or
            weights of another shape.
    """
    own = network.state_dict()
    try:
        state, renamed = read_weights(file, own)
    except ValueError as error:
        raise ValueError(f"weights_file {error}") from error
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise ValueError(
            f"no tensor of {file} fits the network: it is the file of another one; its names are {shown(state)}, the "
            f"network's {shown(own)}"
        )
    layers = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    head = f"{layers[-1]}.weight"
    for name in (f"{layer}.weight" for layer in layers[1:-1]):
        if name not in fitting and not _one_more_head(state.get(name), own[name], own[head]):
            there = tuple(state[name].shape) if name in state else "missing"
            here = tuple(own[name].shape)
            raise ValueError(
                f"{file} is of another network: {name} is {there} in the file, {here} in the model; nothing is loaded"
            )
    network.load_state_dict(fitting, strict=False)
    kept = [name for name in own if name not in fitting]
    unused = [name for name in state if name not in own]
    if renamed:
        rank_zero_info(f"{file}: {renamed}")
    if kept:
        rank_zero_warn(f"{file} has nothing that fits {', '.join(kept)}: left as initialised")
    if unused:
        rank_zero_warn(f"{file} has {', '.join(unused)}, which the network has not: left out")


def _one_more_head(there: Tensor | None, here: Tensor, head: Tensor) -> bool:
    """Whether a layer gives as many classes as the last one, and would fit if it gave as many as in the file."""
    return there is not None and len(here) == len(head) and there.shape[1:] == here.shape[1:]


def shown(names: Iterable[str], most: int = 5) -> str:
    """The first of some names."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f", ... ({len(listed)})" if len(listed) > most else "")


def _plain(name: str) -> str:
    return PREFIX.sub("", DENSENET.sub(r"\1\2", COMPILED.sub("", name)))
