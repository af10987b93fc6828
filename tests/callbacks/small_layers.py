"""Training of somebody's network of a few layers, and the tables that callbacks leave of it."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Module(LightningModule):
    """Trains whatever network it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(x)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Run the network."""
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def loader(n: int, shape: tuple[int, ...] = (8,)) -> DataLoader[Any]:
    """Data in three classes, drawn without touching the global generator."""
    generator = torch.Generator().manual_seed(n)
    y = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, *shape, generator=generator)
    x[..., :3] += nn.functional.one_hot(y, 3).view(n, *[1] * (len(shape) - 1), 3)
    return DataLoader(TensorDataset(x, y), batch_size=16)


def fit(
    folder: Path,
    network: nn.Module,
    *callbacks: Callback,
    shape: tuple[int, ...] = (8,),
    sizes: tuple[int, int] = (128, 64),
    **options: Any,
) -> dict[str, Tensor]:
    """Train for two epochs; return the weights."""
    run = Trainer(
        accelerator="cpu",
        max_epochs=2,
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    module = Module(network)
    train, val = sizes
    run.fit(module, loader(train, shape), loader(val, shape))
    return module.state_dict()


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))
