"""Local response normalisation, forward and backward: torch's layer and ours.

    python scripts/bench/lrn.py [--quick] [--data FOLDER] [--threads 1] [--device cuda]

On random numbers; with --data on what the two normalisations of an untrained SmallAlexNet get from real images.
"""

import platform
from collections.abc import Callable

import ratios
import torch
from options import images, parser, sized
from torch import Tensor, nn

from stratoscope.models.parts.local_response_norm import LocalResponseNorm
from stratoscope.models.small_alexnet import small_alexnet

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


def random_inputs() -> list[Tensor]:
    """Non-negative random numbers in place of activations."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).relu() for shape in SHAPES]


def real_inputs(folder: str) -> list[Tensor]:
    """What the two normalisations get from the first images of CIFAR-10.

    Args:
        folder: Of real CIFAR-10.
    """
    torch.manual_seed(0)
    network, inputs = small_alexnet(), list[Tensor]()
    for module in network.modules():
        if isinstance(module, LocalResponseNorm):
            module.register_forward_pre_hook(lambda _, given: inputs.append(given[0].contiguous()))
    with torch.no_grad():
        network(images(folder, SHAPES[0][0]).sets["train"].read(torch.arange(SHAPES[0][0])).image)
    return inputs


def measure(activation: Tensor, memory_format: str, blocks: int, device: str, steps: int = STEPS) -> ratios.Ratio:
    """Compare the layers on activations, in one memory format."""
    generator, shape = torch.Generator().manual_seed(1), tuple(activation.shape)
    x, g = (
        one.to(device, memory_format=FORMATS[memory_format])
        for one in (activation, torch.randn(shape, generator=generator))
    )
    x.requires_grad_()
    ratio = ratios.compare(
        block(nn.LocalResponseNorm(*CONSTANTS), x, g, steps),
        block(LocalResponseNorm(*CONSTANTS), x, g, steps),
        blocks,
        ratios.clock_of(device),
    )
    return ratio.of(f"{'x'.join(map(str, shape))}, {memory_format}", 3 if device == "cpu" else 1, steps)


def main() -> None:
    """Measure and print the table."""
    made = parser(__doc__, "3 blocks instead of 15")
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = made.parse_args()
    torch.set_num_threads(arguments.threads)
    steps, blocks = sized(arguments, (STEPS, 15), (STEPS, 3), (1, 1))
    inputs = real_inputs(arguments.data) if arguments.data else random_inputs()
    print(ratios.table(measure(x, name, blocks, arguments.device, steps) for x in inputs for name in FORMATS))
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    clock = "synchronised wall time" if arguments.device == "cuda" else "CPU time of the process"
    print(
        f"{steps} steps a block, each forward and backward; float32, size, alpha, beta, k = {CONSTANTS}; {clock}.\n"
        f"{torch.get_num_threads()} thread(s), {where}, torch {torch.__version__}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
