"""What exact resume costs: epochs with seeded steps, a look at every loss, signals and whole checkpoints, and without.

    python scripts/bench/resume.py [--quick] [--data FOLDER]

SmallAlexNet on 2,000 images of 28 x 28 pixels, one thread, CPU time; both sides write a checkpoint after every epoch,
the other side Lightning's own. Validation is off on both.
"""

import os
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from options import images, parser, sized
from ratios import compare, table

from stratoscope.callbacks import ExactResume, FiniteLoss
from stratoscope.datamodules import ImageDataModule
from stratoscope.models import SmallAlexNet
from stratoscope.run.checkpoint import LastCheckpoint, WholeFiles
from stratoscope.run.interruption import StopOnSignal


def train(data: ImageDataModule, epochs: int, exact: bool) -> None:
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
    made = parser(__doc__, "3 blocks instead of 7")
    made.add_argument("--images", type=int)
    made.add_argument("--epochs", type=int)
    options = made.parse_args()
    samples, epochs, blocks = sized(options, (2000, 2, 7), (2000, 2, 3), (128, 1, 1))
    samples, epochs = options.images or samples, options.epochs or epochs
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    data = images(options.data, samples)

    def without() -> None:
        train(data, epochs, exact=False)

    def exact() -> None:
        train(data, epochs, exact=True)

    steps = epochs * -(-samples // data.batch_size)
    ratio = compare(without, exact, blocks, warm=not options.rehearse)
    print(table([ratio.of("a step without / with exact resume", 0.98, steps)]))
    print(f"{samples} {'real' if options.data else 'generated'} images; ", end="")
    print(f"torch {torch.__version__}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
