"""What a path costs: 25 points between two networks, and 25 evaluations of the two sets by hand.

    python scripts/bench/path.py [--quick] [--data FOLDER]

SmallAlexNet at a quarter of its width on 2,000 training and 1,000 test images of 28 x 28 pixels, one thread, CPU time.
By hand: interpolate the state dict, load it, run the network on both sets, with loss and number of correct answers.
"""

import os
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from options import images, parser, sized
from ratios import compare, table
from torch.nn.functional import cross_entropy

from stratoscope.callbacks import LossPath
from stratoscope.datamodules import ImageDataModule
from stratoscope.models import SmallAlexNet


def by_hand(data: ImageDataModule, network: SmallAlexNet, other: dict[str, torch.Tensor], points: int) -> list[float]:
    """Losses at the points, as one would write it."""
    mine = {name: one.clone() for name, one in network.state_dict().items()}
    found = []
    network.eval()
    with torch.no_grad():
        for alpha in torch.linspace(-1, 2, points).tolist():
            network.load_state_dict({name: torch.lerp(one, other[name], alpha) for name, one in mine.items()})
            for part in ("train", "test"):
                total, correct = 0.0, 0
                size = len(data.sets[part])
                for at in range(0, size, 500):
                    batch = data.sets[part].__getitems__(range(at, min(size, at + 500)))
                    logits = network(batch.image)
                    total += float(cross_entropy(logits, batch.given_label, reduction="sum"))
                    correct += int((logits.argmax(1) == batch.given_label).sum())
                found.append(total / len(data.sets[part]))
    network.load_state_dict(mine)
    return found


def main() -> None:
    """Measure, and print the table."""
    options = parser(__doc__, "5 points instead of 25, 3 blocks instead of 7").parse_args()
    samples, points, blocks = sized(options, (2000, 25, 7), (2000, 7, 3), (100, 3, 1))
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    data = images(options.data, samples)
    torch.manual_seed(0)
    network, other = SmallAlexNet(width_multiplier=0.25), SmallAlexNet(width_multiplier=0.25)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "other.pt"
        torch.save(other.state_dict(), file)
        there = other.state_dict()

        def theirs() -> None:
            by_hand(data, network, there, points)

        def ours() -> None:
            trainer = Trainer(
                accelerator="cpu",
                logger=False,
                callbacks=[LossPath(str(file), points=points)],
                default_root_dir=folder,
                limit_val_batches=1.0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.validate(network, data, verbose=False)

        ratio = compare(theirs, ours, blocks, warm=not options.rehearse)
    print(table([ratio.of(f"{points} evaluations by hand / a path of {points} points", 0.91, points)]))
    print(f"{samples} {'real' if options.data else 'generated'} images; ", end="")
    print(f"torch {torch.__version__}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
