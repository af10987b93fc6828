"""Training that starts from the weights of another run."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from stratoscope.files.integrity import check_intact
from stratoscope.models.parts.weights import read_weights, shown


class Pretrained(Callback):
    """Puts the weights of a checkpoint into the network before its first step; a run that goes on keeps its own.

    Optimiser, schedule and the weights left out are those of a new run. The checkpoint must have the same layers.

    Args:
        checkpoint: The file, such as runs/NAME/checkpoints/last.ckpt, or a state dict; prefixes such as module. before
            all names are no hindrance. No code from it is ever run.
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
        content, own = file.read_bytes(), module.state_dict()
        try:
            check_intact(file, content)
            stored, renamed = read_weights(file, own, content)
        except ValueError as error:
            raise ValueError(f"Pretrained: {error}") from error
        for name in self.leave:
            if not any(name in key.split(".") for key in own):
                raise ValueError(f"Pretrained: leave names no layer {name}")
        taken = {key: value for key, value in own.items() if not set(self.leave) & set(key.split("."))}
        for key, value in taken.items():
            if key not in stored:
                raise ValueError(f"Pretrained: {key} is missing in {file}, which has {shown(stored)}")
            if (there := tuple(stored[key].shape)) != tuple(value.shape):
                raise ValueError(f"Pretrained: {key} is {there} in {file}, {tuple(value.shape)} in the model")
        if renamed:
            rank_zero_info(f"Pretrained: {renamed}")
        module.load_state_dict({**own, **{key: stored[key] for key in taken}})
