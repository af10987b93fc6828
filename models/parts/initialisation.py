"""Initialisations of weights, by the names their papers give them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

INITIALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "he_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "lecun_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "orthogonal": lambda weight: nn.init.orthogonal_(weight, math.sqrt(2)),
    "sussillo_abbott": lambda weight: _random_walk(weight),
    "simple": lambda weight: nn.init.normal_(weight, std=0.1),
    "truncated_normal": lambda weight: nn.init.trunc_normal_(weight, std=0.1, a=-0.2, b=0.2),
    "zero": nn.init.zeros_,
}
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def initialise(network: nn.Module, name: str) -> None:
    """Draw the weights of all linear and convolutional layers anew, and set their biases to zero.

    Other layers, such as normalisations, stay as they are.

    Args:
        network: The network, changed in place.
        name: `as_built` leaves everything as the network's constructor made it. `he_normal`, `he_uniform` (He et al.
            2015, equation 10), `glorot_normal`, `glorot_uniform` (Glorot & Bengio 2010, equation 16), `lecun_normal`
            (variance 1 / inputs), `orthogonal` (Saxe et al. 2014, gain sqrt 2), `sussillo_abbott` (random walk:
            Sussillo & Abbott 2014, with their gain for ReLU), `simple` (N(0, 0.1^2)) and `zero` (both Neelakantan et
            al. 2015), `truncated_normal` (N(0, 0.1^2) within two deviations, as TensorFlow's tutorials).

    Raises:
        ValueError: If there is no such initialisation.
    """
    if name == "as_built":
        return
    if name not in INITIALISATIONS:
        raise ValueError(f"initialisation must be as_built or one of {', '.join(INITIALISATIONS)}; got {name}")
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, LAYERS):
                INITIALISATIONS[name](layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _random_walk(weight: Tensor) -> Tensor:
    """N(0, g^2 / inputs) with g = sqrt(2) exp(1.2 / (max(inputs, 6) - 2.4)) (Sussillo & Abbott 2014, section 3)."""
    inputs = weight[0].numel()
    gain = math.sqrt(2) * math.exp(1.2 / (max(inputs, 6) - 2.4))
    return nn.init.normal_(weight, std=gain / math.sqrt(inputs))
