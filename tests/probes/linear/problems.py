"""Problems of logistic regression of the kinds that layers give."""

import torch
from torch import Tensor

PROBLEMS = ["correlated", "separable", "wide", "unbalanced", "binary", "many rows"]


def standardised(features: Tensor) -> Tensor:
    """Features of mean 0 and deviation 1."""
    return (features - features.mean(0)) / features.std(0, correction=0)


def problem(name: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standardised features (n, d) and labels (1, n)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if name == "correlated":  # as a ReLU layer gives: sparse, non-negative, of low rank before the ReLU
        features, labels = (draw(200, 8) @ draw(8, 30) + 0.3 * draw(200, 30)).relu(), draw(200, 5).argmax(1)
    elif name == "separable":
        labels = draw(120, 4).argmax(1)
        features = draw(120, 10) + 8 * torch.eye(4, 10)[labels]
    elif name == "wide":
        features, labels = draw(30, 80).relu(), torch.arange(30) % 3
    elif name == "unbalanced":
        labels = torch.tensor([0] * 280 + [1] * 15 + [2] * 5)
        features = draw(300, 6) + labels[:, None]
    elif name == "binary":
        labels = draw(100, 2).argmax(1)
        features = draw(100, 5) + labels[:, None] * torch.linspace(0, 2, 5)
    else:  # "many rows": more than are turned into float64 at a time
        labels = draw(4500, 3).argmax(1)
        features = draw(4500, 4) + torch.eye(3, 4)[labels]
    return standardised(features).to(dtype), labels[None]
