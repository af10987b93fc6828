"""What exact resume costs: epochs with seeded steps, a look at every loss, signals and whole checkpoints, and without.

    python scripts/bench/resume.py [--images 2000] [--epochs 2] [--blocks 7]

SmallAlexNet on generated 28 x 28 images, one thread, CPU time; both sides write a checkpoint after every epoch, the
other side Lightning's own. Validation is off on both.
"""

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from ratios import compare, table

from stratoscope.callbacks import ExactResume, FiniteLoss
from stratoscope.checkpoint import LastCheckpoint, WholeFiles
from stratoscope.datamodules import Shapes
from stratoscope.interruption import StopOnSignal
from stratoscope.models import SmallAlexNet


def train(data: Shapes, epochs: int, exact: bool) -> None:
    """Train a new network for some epochs."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        stop = StopOnSignal()
        ours = [ExactResume(), FiniteLoss(), stop, LastCheckpoint(Path(folder), {}, stop)]
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            limit_val_batches=0,
            logger=False,
            callbacks=ours if exact else [ModelCheckpoint(folder, save_last=True)],
            plugins=[WholeFiles()] if exact else None,
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(SmallAlexNet(), data)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    data = Shapes(train_size=options.images, size=28)

    def without() -> None:
        train(data, options.epochs, exact=False)

    def exact() -> None:
        train(data, options.epochs, exact=True)

    steps = options.epochs * -(-options.images // data.batch_size)
    ratio = compare(without, exact, options.blocks).of("a step without / with exact resume", 0.98, steps)
    print(table([ratio]))
    print(f"{options.images} images; torch {torch.__version__}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
