"""What an optimiser has gathered in training, from a checkpoint: momentum, averages of gradients, counts of steps."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def take_gathered(file: str | Path, optimizer: Optimizer, names: Mapping[int, str], left: Collection[str] = ()) -> None:
    """Let an optimiser begin with what the one in a checkpoint had gathered; its own settings stay.

    Args:
        file: A checkpoint of Lightning, with the weights of the same network. No code from it is ever run.
        optimizer: A new one, on the network's parameters; nothing of it changes if the checkpoint does not fit.
        names: Of the parameters, by `id`.
        left: Names of parameters that begin anew.

    Raises:
        ValueError: If the checkpoint has no state of an optimiser, or that of another one.
    """
    found = torch.load(Path(file).expanduser(), map_location="cpu", weights_only=True)
    states = found.get("optimizer_states") if isinstance(found, Mapping) else None
    if not isinstance(states, list) or len(states) != 1 or not isinstance(states[0], Mapping):
        count = len(states) if isinstance(states, list) else 0
        raise ValueError(f"{file} has the states of {count} optimisers, must have that of one")
    state: Mapping[int, Mapping[str, Any]] = states[0].get("state") or {}
    places = [place for group in states[0].get("param_groups", ()) for place in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if len(places) != len(weights):
        raise ValueError(f"the optimiser in {file} has {len(places)} weights, this one has {len(weights)}")
    wanted = _keys(optimizer)
    if wanted and not state:
        gathers = ", ".join(sorted(wanted))
        raise ValueError(f"the optimiser in {file} had gathered nothing; {type(optimizer).__name__} gathers {gathers}")
    taken: dict[int, Mapping[str, Any]] = {}
    for number, (place, weight) in enumerate(zip(places, weights, strict=True)):
        name = names.get(id(weight), str(place))
        if name in left or place not in state:
            continue
        if wanted is not None and set(state[place]) != wanted:
            there, here = (", ".join(sorted(keys)) or "nothing" for keys in (state[place], wanted))
            kind = type(optimizer).__name__
            raise ValueError(f"{file} is of another optimiser: it has gathered {there}; {kind} gathers {here}")
        for key, value in state[place].items():
            if isinstance(value, Tensor) and value.ndim and value.shape != weight.shape:
                raise ValueError(f"{key} of {name} is {tuple(value.shape)} in {file}, {tuple(weight.shape)} here")
        taken[number] = state[place]
    optimizer.load_state_dict({**optimizer.state_dict(), "state": taken})


def _keys(optimizer: Optimizer) -> set[str] | None:
    """What an optimiser gathers for a weight: seen on a copy of it; None if that takes no step by itself."""
    tried = deepcopy(optimizer)
    for group in tried.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    try:
        tried.step()
    except TypeError:  # it needs a closure
        return None
    return set(next(iter(tried.state.values()), {}))
