"""What converged probes cost: scikit-learn, Adam and a training epoch against ours.

    python scripts/bench/probes.py [--quick] [--data FOLDER] [--samples 50000] [--blocks 7] [--parts PART ...]

SmallAlexNet (no LRN, bfloat16 where the device has it) is trained for six epochs, on labels of which 40 % are redrawn;
its layers are probed after the last two, on true and given labels. Features are pooled to at most 1,024 and
standardised, the ridge is 1e-4 (scikit-learn's C = 1 / (n ridge)), the bias unpenalised. "Warm" fits start from those
an epoch earlier.
"""

import resource
import time
import warnings

import torch
from options import parser, sized
from probe_bench import TAPS, Bench
from ratios import table


def main() -> None:
    """Measure, and print the table."""
    parts = {"epochs": Bench.epochs, "iterations": Bench.iterations, "adam": Bench.adam, "users": Bench.users}
    parts["cold"] = Bench.cold
    made = parser(__doc__, "1,000 samples, at most 128 features and 3 blocks")
    made.add_argument("--samples", type=int, default=50_000)
    made.add_argument("--few", type=int, default=10_000, help="images probed in the second row of `epochs`")
    made.add_argument("--blocks", type=int, default=7)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="rows to measure")
    options = made.parse_args()
    full = options.samples, options.few, options.blocks, 1024, TAPS
    quick, rehearsed = (1000, 200, 3, 128, TAPS), (50, 20, 1, 8, ["pool2", "logits"])
    samples, few, blocks, width, taps = sized(options, full, quick, rehearsed)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")
    bench = Bench(options.data, samples, few, width=width, taps=taps)
    found = [row for part in options.parts for row in parts[part](bench, blocks)]
    print(f"\n{table(found)}\n")
    print(f"{samples} samples, at most {width} features; {options.threads} threads; torch {torch.__version__};")
    print("CPU time of the process; ", end="")
    print(f"{'real CIFAR-10' if options.data else 'generated images'}; peak memory of the process ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
