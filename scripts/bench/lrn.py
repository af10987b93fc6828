"""Local response normalisation, forward and backward: torch's layer and ours.

python scripts/bench/lrn.py [--quick] [--threads 1] [--device cuda]
"""

import argparse
import platform
from collections.abc import Callable

import ratios
import torch
from torch import Tensor, nn

from stratoscope.models.local_response_norm import LocalResponseNorm

SHAPES = [(128, 64, 14, 14), (128, 64, 7, 7)]  # the two normalisations of the small AlexNet, at batch size 128
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
STEPS = 20  # in a block
CONSTANTS = (9, 0.001, 0.75, 1.0)  # size, alpha, beta, k


def block(layer: nn.Module, x: Tensor, g: Tensor, steps: int) -> Callable[[], None]:
    """What runs a block of steps, each forward and backward."""

    def run() -> None:
        for _ in range(steps):
            x.grad = None
            layer(x).backward(g)

    return run


def measure(shape: tuple[int, ...], memory_format: str, blocks: int, device: str, steps: int = STEPS) -> ratios.Ratio:
    """Compare the layers on activations of one shape and memory format."""
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.randn(shape, generator=generator).to(device, memory_format=FORMATS[memory_format]) for _ in range(2))
    x = x.relu().requires_grad_()
    ratio = ratios.compare(
        block(nn.LocalResponseNorm(*CONSTANTS), x, g, steps),
        block(LocalResponseNorm(*CONSTANTS), x, g, steps),
        blocks,
        ratios.clock_of(device),
    )
    return ratio.of(f"{'x'.join(map(str, shape))}, {memory_format}", 3 if device == "cpu" else 1, steps)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="torch's local response normalisation and ours")
    parser.add_argument("--quick", action="store_true", help="3 blocks instead of 15")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    blocks = 3 if arguments.quick else 15
    print(ratios.table(measure(shape, name, blocks, arguments.device) for shape in SHAPES for name in FORMATS))
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    clock = "synchronised wall time" if arguments.device == "cuda" else "CPU time of the process"
    print(
        f"{STEPS} steps a block, each forward and backward; float32, size, alpha, beta, k = {CONSTANTS}; {clock}.\n"
        f"{torch.get_num_threads()} thread(s), {where}, torch {torch.__version__}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
