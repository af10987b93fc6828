"""Training that starts from the weights of another run."""

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from stratoscope.models.parts.optimizer_state import take_gathered
from stratoscope.models.parts.weights import weights_of_same


class Pretrained(Callback):
    """Puts the weights of a checkpoint into the network before its first step; a run that goes on keeps its own.

    Schedule, optimiser and the weights left out are those of a new run. The checkpoint must have the same layers. One
    of an earlier epoch, as `ModelCheckpoint` writes them with `filename: "{epoch}"` and `save_top_k: -1`, is taken
    like any other: with `leave: []` training goes on from the network as it was then.

    Args:
        checkpoint: The file, such as runs/NAME/checkpoints/last.ckpt, or a state dict; prefixes such as module. before
            all names are no hindrance. No code from it is ever run.
        leave: Names of layers whose weights stay as they were drawn.
        optimizer: Whether the optimiser begins with what it had gathered in the checkpoint: momentum, averages of
            gradients, counts of steps. Learning rate and all that it was given are the new run's. It must be of the
            same kind.
    """

    def __init__(self, checkpoint: str, leave: list[str] | None = None, optimizer: bool = False) -> None:
        self.checkpoint, self.leave = checkpoint, ["logits"] if leave is None else leave
        self.optimizer = optimizer

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load them."""
        if not trainer.ckpt_path:
            self.load(pl_module)
            if self.optimizer:
                self._gathered(pl_module, trainer.optimizers)

    def load(self, module: LightningModule) -> None:
        """Put the weights into a network.

        Args:
            module: The network.

        Raises:
            ValueError: If the checkpoint is missing, damaged or of other layers, or a name to leave is none's.
        """
        own = module.state_dict()
        for name in self.leave:
            if not any(name in key.split(".") for key in own):
                raise ValueError(f"Pretrained: leave names no layer {name}")
        try:
            taken = weights_of_same(self.checkpoint, own, self.leave)
        except ValueError as error:
            raise ValueError(f"Pretrained: {error}") from error
        module.load_state_dict({**own, **taken})
        made: Callable[[], Optimizer] | None = getattr(module, "make_optimizer", None)  # ours have it
        if self.optimizer and made is not None:  # tried now, as it may not fit
            self._gathered(module, [made()])

    def _gathered(self, module: LightningModule, optimizers: list[Optimizer]) -> None:
        """Let the optimiser begin with what it had gathered.

        Raises:
            ValueError: If it is another one than the checkpoint's.
        """
        if len(optimizers) != 1:
            raise ValueError(f"Pretrained: optimizer is for one optimiser, the network has {len(optimizers)}")
        names = {id(weight): name for name, weight in module.named_parameters()}
        left = {name for name in names.values() if {*self.leave} & {*name.split(".")}}
        try:
            take_gathered(self.checkpoint, optimizers[0], names, left)
        except ValueError as error:
            raise ValueError(f"Pretrained: {error}") from error
