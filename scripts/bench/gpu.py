"""The most that can be learnt on a GPU in some minutes, the most valuable first, in one Markdown file.

    python scripts/bench/gpu.py --data FOLDER [--quick] [--minutes 9] [--output gpu.md] [--parts PART ...] [--rehearse]

Every part runs in a process of its own, forked from this one, which has imported everything and never touches the
device: what one part breaks, or that it hangs, costs the others nothing. What a part has found is written at once. With
--rehearse the same code runs on the CPU, on generated images and at about a hundredth of the size.
"""

import argparse
import csv
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # a plain checkout, not installed; behind this folder, as both have a `probes`
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # of what is started here
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import launch  # noqa: E402
import lrn  # noqa: E402
import torch  # noqa: E402
import training  # noqa: E402
from options import parser, sized  # noqa: E402
from probe_bench import Bench, scikit_learn_seconds  # noqa: E402
from ratios import compare, table  # noqa: E402

from stratoscope.commands.table import main as stratoscope  # noqa: E402

FEW = 20_000  # images of which scikit-learn fits the features, in minutes
LAYERS = "layers.pt"  # what the probes leave to scikit-learn
START = 2.0  # seconds that a part at least gets
Text = Iterator[str]


@dataclass(frozen=True)
class Plan:
    """What the parts work with.

    Attributes:
        data: Folder of real CIFAR-10; None generates images.
        rehearse: Whether to be a hundredth as large, on the CPU.
        deadline: When the part has to end, by the monotonic clock.
        folder: For runs, and for what parts leave to each other.
    """

    data: str | None
    rehearse: bool
    deadline: float
    folder: Path

    @property
    def device(self) -> str:
        """Where to run."""
        return "cpu" if self.rehearse else "cuda"

    @property
    def accelerator(self) -> str:
        """What Lightning calls it."""
        return "cpu" if self.rehearse else "gpu"

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def source(self) -> list[str]:
        """Options of `fit` that name the data."""
        if self.data:
            return ["--data", "CIFAR10", "--data.root", self.data]
        few = ["--data.train_size", "400", "--data.test_size", "100"] if self.rehearse else []
        return ["--data", "Shapes", "--data.size", "28", *few]


def tests(plan: Plan) -> Text:
    """The tests marked `gpu`."""
    words = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("beartype") is None:  # which checks shapes while testing
        words += ["-o", "addopts=--import-mode=importlib --strict-markers -ra"]
    if importlib.util.find_spec("xdist") and not plan.rehearse:
        words += ["-n", str(min(10, os.cpu_count() or 1)), "-p", "no:benchmark"]  # which warns beside xdist
    words += [
        "-vv",
        "--color=no",
    ]  # a line for each as it ends, so that what is known when the time is over is not lost
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    lines = []
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        late = threading.Timer(max(1.0, plan.left - 5), process.kill)
        late.start()
        for line in process.stdout or ():
            lines.append(line.rstrip())
            print(lines[-1], flush=True)
        late.cancel()
    ended = [line for line in lines if "::" in line and not line.startswith(("FAILED", "ERROR"))]
    counts = {word: sum(word in line for line in ended) for word in ("PASSED", "FAILED", "ERROR", "SKIPPED")}
    said = ", ".join(f"{count} {word.lower()}" for word, count in counts.items())
    yield f"{said}{'' if process.returncode in {0, 1} else '; not all: the time was over'}.\n"
    wrong = [line for line in ended if "FAILED" in line or "ERROR" in line]
    wrong += [line for line in lines if line.startswith("E  ")]
    if wrong:
        yield "\n".join(["```", *(line[:300] for line in wrong[:100]), "```", ""])


def real_runs(plan: Plan) -> Text:
    """Networks trained and probed on the device; the same weights probed on the CPU give the same answers."""
    epochs = "1" if plan.rehearse else "2"
    samples, width = ("200", "64") if plan.rehearse else ("5000", "256")
    yield "| network | epochs | seconds of the run | rows | largest gap here, on the CPU | intervals overlap |"
    yield " largest difference of accuracies | failed | probing on the CPU |\n|---|---|---|---|---|---|---|---|---|\n"
    for network in ("SmallAlexNet", "SmallInception"):
        name = f"{plan.device}-{network}"
        probing = ["--trainer.callbacks", "LinearProbes", "--trainer.callbacks.train_samples", samples]
        probing += ["--trainer.callbacks.width", width]
        threads = ["--threads", "1" if plan.rehearse else "4"]
        wrong = ["--data.corruption", "PartialLabels", "--data.corruption.p", "0.4"]
        narrow = ["--model.width_multiplier", "0.125"] if plan.rehearse else []
        model, where = ["--model", network, *narrow], ["--runs", str(plan.folder / "runs")]
        words = [
            "fit",
            *model,
            *plan.source,
            *wrong,
            *probing,
            "--trainer.callbacks.epochs",
            f"[{epochs}]",
            *where,
            *threads,
        ]
        began = time.monotonic()
        stratoscope([*words, "--trainer.max_epochs", epochs, "--trainer.accelerator", plan.accelerator, "--run", name])
        here = time.monotonic() - began
        run = plan.folder / "runs" / name
        again = ["validate", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *probing, *where, *threads]
        began = time.monotonic()
        stratoscope([*again, "--trainer.accelerator", "cpu", "--run", f"cpu-of-{name}"])
        there = time.monotonic() - began
        yield _alike(network, epochs, here, there, _probes(run), _probes(plan.folder / "runs" / f"cpu-of-{name}"))


def _probes(run: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a run's table by layer, label kind and set."""
    with (run / "probes.csv").open(newline="") as text:
        return {(row["layer"], row["labels"], row["split"]): row for row in csv.DictReader(text)}


def _alike(network: str, epochs: str, here: float, there: float, ours: Any, theirs: Any) -> str:
    """A line of the table that compares two probings."""
    failed = [key for rows in (ours, theirs) for key, row in rows.items() if row["failed"]]
    pairs = [(row, theirs[key]) for key, row in ours.items() if key in theirs and key not in failed]
    overlap = sum(float(a["low"]) <= float(b["high"]) and float(b["low"]) <= float(a["high"]) for a, b in pairs)
    apart = max((abs(float(a["accuracy"]) - float(b["accuracy"])) for a, b in pairs), default=float("nan"))
    gaps = [max((float(pair[which]["gap"]) for pair in pairs), default=float("nan")) for which in (0, 1)]
    said = f"| {network} | {epochs} | {here:.1f} | {len(ours)} | {gaps[0]:.1e}, {gaps[1]:.1e} | "
    return said + f"{overlap} of {len(pairs)} | {100 * apart:.2f} points | {len(failed)} | {there:.1f} s |\n"


def training_table(plan: Plan) -> Text:
    """A step of training: hand-written PyTorch and the stock recipe against `fit`."""
    steps, blocks = (2, 1) if plan.rehearse else (30, 7)
    size = {"steps": steps, "blocks": blocks, "rehearse": plan.rehearse}
    options = argparse.Namespace(data=plan.data, device=plan.device, threads=1, **size)
    for name in training.NETWORKS:
        yield f"{table(training.rows(name, options))}\n\n"


def probe_table(plan: Plan) -> Text:
    """What converged probes cost on the device."""
    samples, few, blocks, width = (300, 300, 1, 32) if plan.rehearse else (50_000, FEW, 5, 1024)
    bench = Bench(plan.data, samples, samples, plan.device, width)
    print(f"{plan.left:.0f} s left")
    yield f"{table(bench.epochs(blocks))}\n\n"
    yield f"{bench.iterations_table()}\n\n"
    yield f"{bench.bound_table(blocks)}\n\n"
    cold = sum(bench.cold_seconds(few, max(1, blocks // 2)))
    yield f"Cold fits of all layers, {few:,} samples, true and given labels: {1e3 * cold:.0f} ms.\n"
    layers = {tap: x[:few].cpu() for tap, x in bench.now.items()}
    torch.save({"labels": bench.labels[:, :few].cpu(), "seconds": cold, **layers}, plan.folder / LAYERS)


def scikit_learn(plan: Plan) -> Text:
    """What scikit-learn takes for the same fits, on two cores of the CPU for each layer."""
    layers = torch.load(plan.folder / LAYERS, mmap=True)
    labels, cold = layers.pop("labels"), layers.pop("seconds")
    yield f"| layer, {labels.shape[1]:,} samples, true and given labels | scikit-learn, 2 cores |\n|---|---|\n"
    at_once, total, done = max(1, (os.cpu_count() or 2) // 4), 0.0, 0
    with ProcessPoolExecutor(at_once, get_context("fork")) as others:
        waiting = {
            others.submit(scikit_learn_seconds, plan.folder / LAYERS, tap, 2): tap for tap in _widest_first(layers)
        }
        for future in as_completed(waiting):
            tap = waiting[future]
            total, done = total + future.result(), done + 1
            yield f"| {tap} ({layers[tap].shape[1]}) | {future.result():.2f} s |\n"
            if done == len(layers):
                yield f"| all {done} | {total:.1f} s |\n\n"
                yield f"scikit-learn / ours, cold: {total / cold:.0f} (at least 100).\n"


def _widest_first(layers: dict[str, torch.Tensor]) -> list[str]:
    return sorted(layers, key=lambda tap: -layers[tap].shape[1])


def lrn_table(plan: Plan) -> Text:
    """Local response normalisation: torch's layer and ours."""
    steps, blocks = (1, 1) if plan.rehearse else (20, 15)
    inputs = [(x, name) for x in lrn.random_inputs() for name in lrn.FORMATS]
    yield table([lrn.measure(*one, blocks, plan.device, steps) for one in inputs])


def launch_table(plan: Plan) -> Text:
    """Four runs on one device, in order and at a time."""
    options = launch.experiment(plan.data, 1 if plan.rehearse else 2)
    options |= {"trainer.accelerator": plan.accelerator}
    in_order, together = (partial(launch.launch, options, 4, jobs) for jobs in (1, 4))
    ratio = compare(in_order, together, 1, time.perf_counter, warm=False).of("4 runs in order / 4 at a time", 2.0, 4)
    yield f"{table([ratio])}\nTime slicing, without MPS.\n"


def reproduced(plan: Plan) -> Text:
    """Rows of Zhang 2017, table 1 and figure 1a, as far as the time reaches."""
    scale = ["--scale", "small"] if plan.rehearse else []
    where = [*(plan.source[2:] if plan.data else []), "--trainer.accelerator", plan.accelerator]
    rows = [
        ("zhang2017/table1", ["--only", "network=AlexNet,MLP 1x512", "--only", "regularisation=none"]),
        ("zhang2017/figure1a", []),
    ]
    for name, only in rows:
        words = ["reproduce", name, *scale, *only, "--runs", str(plan.folder / "reproduced"), "--jobs", "4", *where]
        if plan.rehearse or not plan.data:
            words.append("--dry-run")
        process = subprocess.Popen([sys.executable, "-m", "stratoscope", *words], cwd=plan.folder)
        try:
            process.wait(max(1.0, plan.left - 15))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # saves its runs, and writes the report
            with_grace = max(1.0, plan.left - 3)
            try:
                process.wait(with_grace)
            except subprocess.TimeoutExpired:
                process.kill()
        yield f"`{name}` ended with code {process.returncode}\n\n"
        yield from (_run_line(file) for file in sorted(plan.folder.glob("reproduced/**/metrics.csv")))
        if plan.left < 30:
            return


def _run_line(file: Path) -> str:
    """Where a run has got."""
    with file.open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row.get("train/accuracy")]
    if not rows:
        return f"- {file.parent.name}: no epoch yet\n"
    last = rows[-1]
    train, test = (100 * float(last.get(f"{split}/accuracy") or "nan") for split in ("train", "test"))
    return f"- {file.parent.name}: epoch {float(last['epoch']):.0f}, training {train:.2f} %, test {test:.2f} %\n"


PARTS: dict[str, tuple[Callable[[Plan], Text], float]] = {  # and the seconds that it may take, if they are left
    "tests": (tests, 120),
    "real runs": (real_runs, 150),
    "training": (training_table, 75),
    "probes": (probe_table, 150),
    "lrn": (lrn_table, 20),
    "launch": (launch_table, 75),
    "scikit-learn": (scikit_learn, 150),
    "reproduce": (reproduced, 3600),
}


def _child(part: Callable[[Plan], Text], plan: Plan, log: Path, out: Connection) -> None:
    """Run a part, and send what it finds."""
    os.setsid()  # so that what it starts can be ended with it
    with log.open("w", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        try:
            for text in part(plan):
                out.send(text)
        except BaseException:  # SystemExit too
            traceback.print_exc()
            told = traceback.format_exc().strip().splitlines()[-12:]
            out.send("\n".join(["", "It broke off:", "```", *told, "```", ""]))
    out.close()
    os._exit(0)


def run_part(name: str, plan: Plan, write: Callable[[str], None]) -> None:
    """Run a part in a process of its own, until it ends or its time is over.

    Args:
        name: Of the part.
        plan: With its deadline.
        write: Takes what it finds.
    """
    here, there = get_context("fork").Pipe(duplex=False)
    log = plan.folder / f"{name.replace(' ', '_')}.log"
    child = get_context("fork").Process(target=_child, args=(PARTS[name][0], plan, log, there))
    child.start()
    there.close()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the part
    try:
        while here.poll(max(0.0, plan.left)):
            write(here.recv())
        last = log.read_text(errors="replace").strip().splitlines()[-5:] if log.is_file() else []
        write(
            "\n".join(["", "Its time was over; what it said last:", "```", *(line[:200] for line in last), "```", ""])
        )
    except EOFError:
        child.join(2)
    finally:
        if child.pid and child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)
            child.join()


def main() -> None:
    """Run the parts, one after the other."""
    made = parser(__doc__, "2 minutes instead of 9, in which not all parts end")
    made.add_argument("--minutes", type=float, help="after which it ends")
    made.add_argument("--output", type=Path, default=Path("gpu.md"), help="the file to write")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do")
    options = made.parse_args()
    began = time.monotonic()
    end = began + 60 * (options.minutes or sized(options, 9.0, 2.0, 9.0))
    ask = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    where = ""
    if not options.rehearse:
        where = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    if not options.rehearse and not where:
        made.error("there is no CUDA GPU here; --rehearse runs the same code on the CPU")
    text = [
        f"# {'Rehearsal on the CPU' if options.rehearse else where}\n\n{time.strftime('%Y-%m-%d')}; torch "
        f"{torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores; "
        f"{'real CIFAR-10' if options.data else 'generated images'}.\n"
    ]

    def write(piece: str) -> None:
        text.append(piece)
        options.output.write_text("".join(text))
        print(piece, end="", flush=True)

    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        plan = Plan(options.data, options.rehearse, end, Path(folder))
        for name in options.parts:
            part_began = time.monotonic()
            deadline = max(part_began + START, min(end, part_began + PARTS[name][1]))
            text.append(f"\n## {name}\n\n{PARTS[name][0].__doc__}\n\n")

            run_part(name, replace(plan, deadline=deadline), write)
            write(f"\n({time.monotonic() - part_began:.0f} s)\n")
            for log in Path(folder).glob("*.log"):
                (options.output.parent / log.name).write_bytes(log.read_bytes()[-200_000:])
        write(f"\n{time.monotonic() - began:.0f} s in all.\n")


if __name__ == "__main__":
    main()
