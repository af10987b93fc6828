"""Training that starts from the weights of another run."""

import hashlib
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Pretrained(Callback):
    """Puts the weights of a checkpoint into the network before its first step; a run that goes on keeps its own.

    Optimiser, schedule and the weights left out are those of a new run. The checkpoint must have the same layers.

    Args:
        checkpoint: The file, such as runs/NAME/checkpoints/last.ckpt; no code from it is ever run.
        leave: Names of layers whose weights stay as they were drawn.
    """

    def __init__(self, checkpoint: str, leave: list[str] | None = None) -> None:
        self.checkpoint, self.leave = checkpoint, ["logits"] if leave is None else leave

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load them."""
        if not trainer.ckpt_path:
            self.load(pl_module)

    def load(self, module: LightningModule) -> None:
        """Put the weights into a network.

        Args:
            module: The network.

        Raises:
            ValueError: If the checkpoint is missing, damaged or of other layers, or a name to leave is none's.
        """
        file = Path(self.checkpoint)
        if not file.is_file():
            raise ValueError(f"Pretrained: no file {file}")
        content, digests = file.read_bytes(), file.with_name(f"{file.name}.sha256")
        if digests.is_file() and hashlib.sha256(content).hexdigest() not in digests.read_text().split():
            raise ValueError(f"Pretrained: {file} is damaged: its SHA-256 is not the one in {digests.name}")
        try:
            stored: dict[str, Tensor] = torch.load(BytesIO(content), map_location=module.device, weights_only=True)[
                "state_dict"
            ]
        except (OSError, EOFError, KeyError, TypeError, RuntimeError, UnpicklingError) as error:
            raise ValueError(f"Pretrained: {file} is no checkpoint, or damaged") from error
        own = module.state_dict()
        for name in self.leave:
            if not any(name in key.split(".") for key in own):
                raise ValueError(f"Pretrained: leave names no layer {name}")
        taken = {key: value for key, value in own.items() if not set(self.leave) & set(key.split("."))}
        for key, value in taken.items():
            there = tuple(stored[key].shape) if key in stored else "missing"
            if there != tuple(value.shape):
                raise ValueError(f"Pretrained: {key} is {there} in {file}, {tuple(value.shape)} here")
        module.load_state_dict({**own, **{key: stored[key] for key in taken}})
