"""The weights of a network as one vector, and what else of its state goes with them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

Vector = Shaped[Tensor, " p"]


class FlatParameters:
    """The trainable parameters of a network as one vector, in the order of `named_parameters()`.

    Those that are not trained (`requires_grad` is False) are left out; tied ones count once, under their first name.

    Args:
        module: The network. It is not copied.

    Attributes:
        named: The parameters by name.
        places: By name, from where to where a parameter lies in the vector.

    Raises:
        ValueError: If it has no trainable parameters.
    """

    def __init__(self, module: nn.Module) -> None:
        self.named = {name: one for name, one in module.named_parameters() if one.requires_grad}
        if not self.named:
            raise ValueError(f"{type(module).__name__} has no trainable parameters")
        self.places: dict[str, tuple[int, int]] = {}
        end = 0
        for name, one in self.named.items():
            self.places[name] = end, end + one.numel()
            end += one.numel()
        self.dtype = torch.float32
        for one in self.named.values():
            self.dtype = torch.promote_types(self.dtype, one.dtype)
        self.device = next(iter(self.named.values())).device

    def __len__(self) -> int:
        return max(end for _, end in self.places.values())

    def vector(self) -> Vector:
        """The weights as they are now: (p), a copy, in float32 or the widest type among them."""
        return self.vector_of(self.named)

    def vector_of(self, state: Mapping[str, Tensor]) -> Vector:
        """The weights in a state dict of the network: (p).

        Args:
            state: Tensors by name; others than those of the parameters are not looked at.
        """
        return torch.cat([state[name].detach().to(self.device, self.dtype).flatten() for name in self.named])

    def put(self, vector: Vector) -> None:
        """Write a vector into the network's parameters, in place.

        Args:
            vector: (p).
        """
        with torch.no_grad():
            for name, one in self.named.items():
                start, end = self.places[name]
                one.copy_(vector[start:end].view_as(one))

    def layers(self) -> dict[str, list[tuple[int, int]]]:
        """By the name of the module that holds them, where its own parameters lie in the vector."""
        found: dict[str, list[tuple[int, int]]] = {}
        for name, place in self.places.items():
            found.setdefault(name.rpartition(".")[0], []).append(place)
        return found


def others_of(module: nn.Module) -> dict[str, Tensor]:
    """What a network's state dict has beside its trainable parameters: buffers, and parameters that are not trained.

    Args:
        module: The network.

    Returns:
        The network's own tensors, by name.
    """
    trained = {id(one) for one in module.parameters() if one.requires_grad}
    held = module.state_dict(keep_vars=True)
    return {name: one for name, one in held.items() if isinstance(one, Tensor) and id(one) not in trained}


def combined(ends: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum sum_k w_k x_k of tensors.

    With weights that sum to 1 it is x_b + sum_k w_k (x_k - x_b), b the end of the largest weight: exactly x_b where
    that weight is 1, and the same between equal ends, bit for bit.

    Args:
        ends: Tensors x_k of one shape and floating-point type.
        weights: w_k, one for each of them.
    """
    if abs(sum(weights) - 1) > 1e-9:
        return torch.stack([weight * end for weight, end in zip(weights, ends, strict=True) if weight]).sum(0)
    base = max(range(len(ends)), key=lambda place: weights[place])
    found = ends[base].clone()
    for place, (weight, end) in enumerate(zip(weights, ends, strict=True)):
        if place != base and weight:
            found.add_(end - ends[base], alpha=weight)
    return found
