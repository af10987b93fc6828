"""What converged probes cost: scikit-learn, Adam and a training epoch against ours.

    python scripts/bench/probes.py [--quick] [--data FOLDER] [--samples 50000] [--blocks 7] [--parts PART ...]

SmallAlexNet (no LRN, bfloat16 where the device has it) is trained for six epochs, on labels of which 40 % are redrawn;
its layers are probed after the last two, on true and given labels. Features are pooled to at most 1,024 and
standardised, the ridge is 1e-4 (scikit-learn's C = 1 / (n ridge)), the bias unpenalised. "Warm" fits start from those
an epoch earlier.
"""

import argparse
import resource
import time
import warnings

import torch
from probe_bench import Bench
from ratios import table


def main() -> None:
    """Measure, and print the table."""
    parts = {"epochs": Bench.epochs, "iterations": Bench.iterations, "adam": Bench.adam, "users": Bench.users}
    parts["cold"] = Bench.cold
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="3,000 samples and 3 blocks")
    parser.add_argument("--data", default=None, help="folder of real CIFAR-10; generated images otherwise")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--few", type=int, default=10_000, help="images probed in the second row of `epochs`")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="rows to measure")
    options = parser.parse_args()
    samples, blocks = (3000, 3) if options.quick else (options.samples, options.blocks)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")
    bench = Bench(options.data, samples, samples // 5 if options.quick else options.few)
    found = [row for part in options.parts for row in parts[part](bench, blocks)]
    print(f"\n{table(found)}\n")
    print(f"{samples} samples; {options.threads} threads; torch {torch.__version__}; CPU time of the process;")
    print(f"{'real CIFAR-10' if options.data else 'generated images'}; peak memory of the process ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
