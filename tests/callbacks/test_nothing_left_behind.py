"""Tests of all callbacks together: each of their hooks leaves everything as it was, also when it raises."""

import contextlib
import hashlib
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from stratoscope.callbacks import FiniteLoss, HumanUncertainty, LinearProbes, OnlineProbes, Predictions
from stratoscope.callbacks.instruments.measures import MEASURES
from stratoscope.datamodules import Batch, Digits, RandomLabels
from stratoscope.models.parts.classifier import Classifier
from stratoscope.run.checkpoint import LastCheckpoint
from stratoscope.run.interruption import StopOnSignal

pytestmark = pytest.mark.usefixtures("no_pictures")

CHECKED = "beartype" in sys.modules  # it draws from Python's generator, to choose which entries of a list to check
HOOKS = [name for name in vars(Callback) if name.startswith("on_") or name in {"setup", "teardown"}]
PAIRED = ("batch_start", "batch_end")  # between these the layers of a pass may be listened to


class Somebody(Classifier):
    """Dropout, batch normalisation, a frozen layer, one in evaluation mode, and one that breaks in a given run."""

    def __init__(self, run: int = 0) -> None:
        layers = [nn.Flatten(), nn.Linear(2352, 8), nn.BatchNorm1d(8), nn.Identity(), nn.ReLU()]
        super().__init__(
            nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(8, 10), nn.BatchNorm1d(10)),
            lambda parameters: torch.optim.SGD([p for p in parameters if p.requires_grad], lr=0.05, momentum=0.9),
            lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
        )
        self.get_submodule("network.6").requires_grad_(False)
        self.set_submodule("network.3", Breaks(run))

    def on_train_epoch_start(self) -> None:
        """Keep a layer in a mode of its own."""
        self.get_submodule("network.7").eval()


class Breaks(nn.Module):
    """Draws random numbers, changes its mode and raises, in a run of the network in evaluation mode."""

    def __init__(self, run: int) -> None:
        super().__init__()
        self.run, self.runs = run, 0

    def forward(self, x: Tensor) -> Tensor:
        """The input, or an error."""
        if not self.training:
            self.runs += 1
            if self.runs == self.run:
                torch.rand(3)
                random.random()
                np.random.random()
                self.train()
                raise RuntimeError("in the middle")
        return x


def digest(tensors: list[Tensor | None]) -> str:
    """Of all bits."""
    words = hashlib.sha256()
    for tensor in tensors:
        words.update(b"none" if tensor is None else tensor.detach().numpy().tobytes())
    return words.hexdigest()


def hooks(module: nn.Module) -> dict[str, int]:
    """How many hooks there are on every submodule."""
    kinds = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    assert len(kinds) >= 8
    return {name: sum(len(getattr(part, kind)) for kind in kinds) for name, part in module.named_modules()}


def state(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """All that training depends on."""
    parameters = list(module.parameters())
    optimizers = [optimizer.state_dict() for optimizer in trainer.optimizers]
    return {
        "modes": {name: part.training for name, part in module.named_modules()},
        "requires_grad": [parameter.requires_grad for parameter in parameters],
        "gradients": digest([parameter.grad for parameter in parameters]),
        "weights": digest([*parameters, *module.buffers()]),
        "moments": digest([
            value
            for optimizer in optimizers
            for moments in optimizer["state"].values()
            for value in moments.values()
            if isinstance(value, Tensor)
        ]),
        "rates": [group["lr"] for optimizer in optimizers for group in optimizer["param_groups"]],
        "python": None if CHECKED else random.getstate(),
        "numpy": hashlib.sha256(pickle.dumps(np.random.get_state())).hexdigest(),
        "torch": digest([torch.get_rng_state()]),
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "recording": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "hooks": hooks(module),
    }


class Watched:
    """Compares what is before and after every hook of a callback.

    Args:
        callback: The callback.
        listens: Whether it may have hooks of its own on the layers from a batch's start to its end.
    """

    def __init__(self, callback: Callback, listens: bool = False) -> None:
        self.called: dict[str, int] = {}
        self.raised: list[str] = []
        self.bare: dict[str, int] = {}
        for name in HOOKS:
            if getattr(type(callback), name) is not getattr(Callback, name):
                setattr(callback, name, self._watched(name, getattr(callback, name), listens))

    def _watched(self, name: str, hook: Callable[..., Any], listens: bool) -> Callable[..., Any]:
        def watched(trainer: Trainer, module: LightningModule, *rest: Any, **named: Any) -> Any:
            before, self.called[name] = state(trainer, module), self.called.get(name, 0) + 1
            try:
                return hook(trainer, module, *rest, **named)
            except BaseException:
                self.raised.append(name)
                raise
            finally:
                after = state(trainer, module)
                if listens and name.endswith((*PAIRED, "on_exception")):
                    if name.endswith("batch_start"):
                        self.bare = before.pop("hooks")
                        after.pop("hooks")
                    else:
                        before["hooks"] = self.bare or before["hooks"]
                assert {key for key in after if before[key] != after[key]} == set(), name

        return watched


def human_file(folder: Path, classes: int = 10) -> str:
    """Shares of people of whom most see the right digit."""
    label = Digits().load()["test"].true_label
    shares = torch.full((360, classes), 0.1 / (classes - 1), dtype=torch.float64)
    file = folder / f"human{classes}.npy"
    np.save(file, shares.scatter(1, label[:, None], 0.9).numpy())
    return str(file)


def fit(folder: Path, callback: Callback, module: LightningModule | None = None, fails: str = "", **more: Any) -> None:
    """Train for two epochs from seed 0."""
    seed_everything(0, verbose=False)
    quiet = ("logger", "enable_progress_bar", "enable_model_summary")
    settings = {**dict.fromkeys(quiet, False), "enable_checkpointing": isinstance(callback, LastCheckpoint), **more}
    run = Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[callback],
        log_every_n_steps=1,
        **settings,
    )
    module = module or Somebody()
    with pytest.raises(Exception, match=fails) if fails else contextlib.nullcontext():
        run.fit(module, datamodule=Digits(corruption=RandomLabels(), batch_size=300))
    if isinstance(callback, Predictions):
        run.predict(module, datamodule=Digits())
    assert not any(hooks(module).values())


def linear(**options: Any) -> LinearProbes:
    """Probes of the small layers with all measures."""
    taps = ["network.1", "network.2", "network.4", "network.6"]
    return LinearProbes(taps, tolerance=0.01, train_samples=300, held_out=50, measures=[*MEASURES], **options)


WORKING: dict[str, Callable[[Path], Callback]] = {
    "LinearProbes": lambda folder: linear(),
    "LinearProbes in files": lambda folder: linear(memory=1e-3, ridge=[1e-3, 1e-1]),
    "OnlineProbes": lambda folder: OnlineProbes(["input", "network.1", "network.4"], 30, "random_projection"),
    "HumanUncertainty": lambda folder: HumanUncertainty(human_file(folder)),
    "FiniteLoss": lambda folder: FiniteLoss(),
    "Predictions": lambda folder: Predictions(),
    "StopOnSignal": lambda folder: StopOnSignal(),
    "LastCheckpoint": lambda folder: LastCheckpoint(folder, {}, StopOnSignal()),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.endswith("files") else []) for name in WORKING]
)
def test_every_hook_leaves_everything_as_it_was(name: str, tmp_path: Path) -> None:
    """Modes, gradients, weights, random states, places, defaults and hooks, before and after each hook by itself."""
    callback = WORKING[name](tmp_path)
    watched = Watched(callback, listens=name == "OnlineProbes")
    fit(tmp_path, callback)
    assert sum(watched.called.values()) > 1
    assert not watched.raised


class FailingSolver(LinearProbes):
    """Probes whose second layer's solver raises."""

    fits = 0

    def _fit(self, *layer: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.fits += 1
        if self.fits == 2:
            raise RuntimeError("in the middle")
        return super()._fit(*layer)


class Drawing(nn.Module):
    """A reduction that draws random numbers and raises, the third time."""

    times = 0

    def forward(self, features: Tensor) -> Tensor:
        """Reduce, or raise."""
        self.times += 1
        if self.times == 3:
            torch.rand(3)
            np.random.random()
            raise RuntimeError("in the middle")
        return features.flatten(1)


def overflowing() -> LightningModule:
    """A network whose loss is no number."""
    module = Somebody()
    with torch.no_grad():
        module.get_submodule("network.1").weight.fill_(torch.nan)  # type: ignore[operator]
    return module


class Blind(Somebody):
    """Its validation returns no logits."""

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Too few numbers."""
        return super().validation_step(batch, batch_idx, dataloader_idx)[:, :4]


FAILING: dict[str, tuple[Callable[[Path], Callback], Callable[[], LightningModule], str, str]] = {
    "LinearProbes, a solver": (  # which costs that layer's row of the table only
        lambda folder: FailingSolver(["network.1", "network.4"], measures=[*MEASURES]),
        Somebody,
        "",
        "",
    ),
    "LinearProbes, the network at first": (
        lambda folder: linear(),
        lambda: Somebody(3),  # after both looks at its layers
        "in the middle",
        "on_train_start",
    ),
    "LinearProbes, the network later": (  # which costs the rows of that epoch
        lambda folder: linear(epochs=[1]),
        lambda: Somebody(9),
        "",
        "",
    ),
    "LinearProbes, a reduction": (
        lambda folder: linear(reduction=Drawing()),
        Somebody,
        "in the middle",
        "on_train_start",
    ),
    "OnlineProbes, the network": (
        lambda folder: OnlineProbes("network.4"),
        lambda: Somebody(1),
        "in the middle",
        "on_train_batch_start",
    ),
    "OnlineProbes, a reduction": (
        lambda folder: OnlineProbes(["network.1", "network.4"], reduction=Drawing()),
        Somebody,
        "",  # in the forward pass that trains, which it must not end
        "",
    ),
    "HumanUncertainty": (
        lambda folder: HumanUncertainty(human_file(folder)),
        Blind,
        "has 10 classes, the logits",
        "on_validation_batch_end",
    ),
    "FiniteLoss": (lambda folder: FiniteLoss(), overflowing, "the loss is nan", "on_before_backward"),
    "LastCheckpoint": (
        lambda folder: LastCheckpoint(folder / "file", {}, StopOnSignal()),
        Somebody,
        "file",
        "on_train_epoch_end",
    ),
}


@pytest.mark.filterwarnings(
    "ignore:.*probes failed", "ignore:probes of epoch 1 failed", "ignore:online probes leave out"
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "solver" in name else []) for name in FAILING]
)
def test_a_hook_that_raises_leaves_everything_as_it_was(name: str, tmp_path: Path) -> None:
    """The same where the work is broken off: by the network, by a solver, by what it is given."""
    make, network, message, where = FAILING[name]
    (tmp_path / "file").touch()
    callback = make(tmp_path)
    watched = Watched(callback, listens=name.startswith("OnlineProbes"))
    fit(tmp_path, callback, network(), fails=message, num_sanity_val_steps=0, limit_val_batches=1)
    assert watched.raised == [where] * bool(where)


@pytest.mark.slow
@pytest.mark.skipif(not CHECKED, reason="this is the run without checks")
def test_python_draws_on_as_if_nothing_had_happened() -> None:
    """All of the above, with Python's own generator, in an interpreter where types are not checked."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        __file__,
        "-q",
        "-o",
        "addopts=--import-mode=importlib",
        "-p",
        "no:jaxtyping",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(WORKING) + len(FAILING)} passed" in done.stdout
