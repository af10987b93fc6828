"""Peak memory of the probes against their budget, by the operating system's count, and that the budget changes nothing.

    python scripts/bench/probe_memory.py [--quick] [--data FOLDER] [--samples N] [--memory GIB ...]

SmallAlexNet, all natural layers, true and given labels, one thread. Counted is what the process holds for itself
(RssAnon and RssShmem: pages of mapped files go when memory is needed), sampled every millisecond while the probes run,
less what it held before. Linux only.
"""

import hashlib
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import torch
from lightning.pytorch import LightningModule, Trainer
from options import images, parser, sized

from stratoscope.callbacks import LinearProbes
from stratoscope.datamodules import PartialLabels
from stratoscope.models import SmallAlexNet

GIB = 2**30


def held() -> int:
    """Bytes of this process that are not in any file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


class Peak:
    """The most that `held` grows by inside the block."""

    def __enter__(self) -> "Peak":
        self.before = self.most = held()
        self.done = Event()
        self.thread = Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.001):
            self.most = max(self.most, held())

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def growth(self) -> float:
        """In GiB."""
        return (self.most - self.before) / GIB


class Watched(LinearProbes):
    """Probes that note their peak memory and their time."""

    def measure(self, trainer: Trainer, pl_module: LightningModule, epoch: int, fails: bool = True) -> None:
        """Probe, watched."""
        began = time.monotonic()
        with Peak() as peak:
            super().measure(trainer, pl_module, epoch, fails)
        self.growth, self.seconds = peak.growth, time.monotonic() - began


def measure(folder: str | None, samples: int, taps: str, memory: float | None) -> tuple[float, float, str]:
    """Peak in GiB, seconds, and the digest of the table, of one probing in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = images(folder, samples, PartialLabels(0.4))
    with tempfile.TemporaryDirectory() as root:
        probes = Watched(taps, epochs=[0], memory=memory)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=1,
            callbacks=[probes],
            default_root_dir=root,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(SmallAlexNet(local_response_norm=False), data)
        table = hashlib.sha256((Path(root) / "probes.csv").read_bytes()).hexdigest()[:8]
    return probes.growth, probes.seconds, table


def main() -> None:
    """Measure, and print the table."""
    made = parser(__doc__, "3,000 samples and one budget")
    made.add_argument("--samples", type=int)
    made.add_argument("--memory", type=float, nargs="+", help="budgets in GiB")
    options = made.parse_args()
    full, quick, rehearsed = (50_000, "natural", [0.3, 0.5, 1.0]), (3000, "natural", [0.1]), (50, "*logits", [0.1])
    samples, taps, budgets = sized(options, full, quick, rehearsed)
    samples, budgets = options.samples or samples, options.memory or budgets
    rows = ["| budget, GiB | peak, GiB | peak / budget | seconds | table |", "|---|---|---|---|---|"]
    for memory in [None, *budgets]:
        with ProcessPoolExecutor(1, get_context("fork")) as fresh:  # of this one, which never probes itself
            growth, seconds, table = fresh.submit(measure, options.data, samples, taps, memory).result()
        budget, share = ("none", "") if memory is None else (f"{memory:g}", f"{growth / memory:.2f}")
        rows.append(f"| {budget} | {growth:.3f} | {share} | {seconds:.0f} | {table} |")
    print("\n".join(["", *rows]))


if __name__ == "__main__":
    main()
