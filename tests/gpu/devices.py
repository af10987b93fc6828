"""On which devices the tests of this folder run: on a GPU where there is one, and the quick ones on the CPU too."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from stratoscope.datamodules import ImageDataModule
from stratoscope.models import Classifier

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA begins: deterministic products

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
GPU = pytest.param("cuda", marks=needs_gpu)
BOTH = ["cpu", GPU]
RUNS = [pytest.param("cpu", marks=pytest.mark.slow), GPU]  # other tests of `make test` are of runs on the CPU


def trained(
    folder: Path,
    model: type[Classifier],
    data: ImageDataModule,
    device: str,
    *callbacks: Callback,
    epochs: int = 1,
    switches: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Classifier, Trainer]:
    """Train a network from seed 0, as `fit` does but without a run directory."""
    seed_everything(0, verbose=False)
    made = model(**(switches or {}))
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=epochs,
        callbacks=list(callbacks),
        default_root_dir=folder,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(made, data)
    return made, trainer
