"""What a step of training costs: hand-written PyTorch and the usual torchvision recipe against `stratoscope fit`.

    python scripts/bench/training.py [--quick] [--data FOLDER] [--device cuda]

Every `fit` runs in a thread of its own that is let go for one block of steps at a time, so that blocks alternate within
one process; nothing runs beside the block that is measured.
"""

import argparse
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from options import parser, sized
from ratios import Ratio, clock_of, compare, table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10

from stratoscope.datamodules import Batch, ImageDataModule
from stratoscope.fit.command import build
from stratoscope.models import mlp, small_alexnet

BATCH = 128
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "SmallAlexNet": (small_alexnet, "SmallAlexNet"),
    "MLP 1x512": (mlp, "MLP"),
}


class Paced(Callback):
    """Lets a fit run in a thread of its own, a block of steps whenever it is called.

    Args:
        fit: Trains for ever, with this as a callback, or calling `step` itself.
        block: Steps in a block.
    """

    def __init__(self, fit: Callable[[Any], None], block: int) -> None:
        self.block = block
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.steps = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(fit,), daemon=True)
        self.thread.start()
        self.done.acquire()  # it waits before its first step

    def __call__(self) -> None:
        """Run one block.

        Raises:
            RuntimeError: If the fit has ended.
        """
        self.go.release()
        self.done.acquire()
        if self.error is not None:
            raise RuntimeError("the fit ended early") from self.error

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first call."""
        self.hand_over()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step."""
        self.step()

    def step(self) -> None:
        """Count a step, and hand over after every block."""
        self.steps += 1
        if self.steps % self.block == 0:
            self.hand_over()

    def hand_over(self) -> None:
        """Let the caller go on, and wait for the next call."""
        self.done.release()
        self.go.acquire()

    def _run(self, fit: Callable[[Any], None]) -> None:
        try:
            fit(self)
        except BaseException as error:  # shown by the thread that waits
            self.error = error
        self.done.release()


class StockClassifier(LightningModule):
    """The LightningModule of a tutorial: a network, cross-entropy, `self.log` in every step.

    Args:
        network: Maps images to logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return and log the loss."""
        image, label = batch
        loss = cross_entropy(self.network(image), label)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD as in the other loops."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def plain_loop(network: nn.Module, data: Batch, device: torch.device) -> Callable[["Paced"], None]:
    """Hand-written PyTorch: the set in memory, shuffled batches, whitening, SGD, running loss and accuracy."""
    network.to(device)
    image, label = data.image.to(device), data.given_label.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    loss_sum, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)

    def fit(paced: Paced) -> None:
        nonlocal loss_sum, correct
        paced.hand_over()
        while True:
            for chosen in torch.randperm(len(image), device=device).split(BATCH):
                pixels, target = image[chosen].float().flatten(1), label[chosen]
                pixels -= pixels.mean(1, keepdim=True)
                pixels *= pixels.shape[1] ** 0.5 / torch.linalg.vector_norm(pixels, dim=1, keepdim=True)
                logits = network(pixels.view(-1, *image.shape[1:]))
                loss = cross_entropy(logits, target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach() * len(target)
                correct += (logits.argmax(1) == target).sum()
                paced.step()

    return fit


def stock_fit(network: nn.Module, data: Batch, device: torch.device) -> Callable[[Callback], None]:
    """Torchvision's CIFAR10 with transforms, a DataLoader and Lightning's defaults."""
    steps = [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))]
    source: Any = TorchvisionCIFAR10.__new__(TorchvisionCIFAR10)  # its __getitem__ on data that are here already
    source.data, source.targets = data.image.permute(0, 2, 3, 1).contiguous().numpy(), data.given_label.tolist()
    source.transform, source.target_transform = transforms.Compose(steps), None
    loader = DataLoader(source, batch_size=BATCH, shuffle=True)  # no workers: what they cost would not be counted

    def fit(paced: Callback) -> None:
        folder = tempfile.mkdtemp(prefix="stock-")
        trainer = Trainer(
            max_epochs=1000,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            callbacks=[paced],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(StockClassifier(network), loader)

    return fit


def our_fit(words: list[str]) -> tuple[Batch, Callable[[Callback], None]]:
    """The training set of a command line, and its run."""
    folder = tempfile.mkdtemp(prefix="ours-")
    command = build(["fit", *words, "--runs", folder, "--trainer.max_epochs", "1000"])
    assert isinstance(command.datamodule, ImageDataModule)

    def fit(paced: Callback) -> None:
        command.trainer.callbacks.insert(0, paced)  # type: ignore[attr-defined]
        command.start()

    return command.datamodule.sets["train"].data, fit


def rows(name: str, options: argparse.Namespace) -> list[Ratio]:
    """All ratios of one network.

    Args:
        name: In NETWORKS.
        options: As on the command line: data, device, threads, rehearse, steps and blocks.
    """
    make, model = NETWORKS[name]
    device, clock = torch.device(options.device), clock_of(options.device)
    source = ["CIFAR10", "--data.root", options.data] if options.data else ["Shapes", "--data.size", "28"]
    source += [] if options.data else ["--data.train_size", "300" if options.rehearse else "20000"]
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    words = ["--model", model, "--data", *source, "--trainer.accelerator", accelerator, "--trainer.devices", "1"]
    data, fit = our_fit([*words, "--threads", str(options.threads)])
    ours = Paced(fit, options.steps)
    where = "GPU" if device.type == "cuda" else "CPU"
    plain = Paced(plain_loop(make(), data, device), options.steps)
    least = {"SmallAlexNet": 0.98, "MLP 1x512": 0.90}[name]
    ratio = compare(plain, ours, options.blocks, clock)
    found = [ratio.of(f"plain loop / fit, {name}, {where}", least, options.steps)]
    stock = Paced(stock_fit(make(), data, device), options.steps)
    least = 5.0 if where == "GPU" and name == "SmallAlexNet" else 1.5 if name == "MLP 1x512" else 1.0
    ratio = compare(stock, ours, options.blocks, clock)
    return [*found, ratio.of(f"stock recipe / fit, {name}, {where}", least, options.steps)]


def main() -> None:
    """Measure, and print the table."""
    made = parser(__doc__, "3 blocks of 5 steps instead of 21 of 20")
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    made.add_argument("--threads", type=int, default=1)
    options = made.parse_args()
    options.steps, options.blocks = sized(options, (20, 21), (5, 3), (1, 1))
    if os.environ.get("MALLOC_ARENA_MAX") != "1":
        # every thread would have memory of its own, and page faults that depend on which one was first
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "MALLOC_ARENA_MAX": "1"})
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")

    found = [row for name in NETWORKS for row in rows(name, options)]
    print(table(found))
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    print(f"Times of a step of {BATCH} images, blocks of {options.steps} steps; {device}; torch {torch.__version__};")
    print(
        f"{'real CIFAR-10' if options.data else 'generated images'}, 28x28; the stock recipe without worker processes."
    )


if __name__ == "__main__":
    main()
