"""Local response normalisation (Krizhevsky et al. 2012, section 3.3): torch's layer, several times faster on a CPU.

With a = alpha/size, b = beta and W(q) the sums of q over neighbouring channels,

    y = x s^-b,    s = k + a W(x^2),    dx = g s^-b - 2 a b x W'(g x s^-b / s),

where g is the gradient at y and W', the transpose of W, has the mirrored window.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

CHUNK = 2**18  # elements: few enough for a chunk's temporaries to stay in the cache and their memory to be used again


def sums_by_doubling(x: Tensor, size: int, before: int) -> Tensor:
    """Sums over `size` neighbouring channels with some 2 log2(size) additions: of 1, 2, 4, ... channels, then of these.

    Args:
        x: (n, c, ...), any real dtype.
        size: Channels in a window.
        before: How many of them come before the window's own channel; channels outside x count as zeros.

    Returns:
        The sums, of x's shape and memory format.
    """
    channels = x.shape[1]
    runs = F.pad(x, (0, 0) * (x.dim() - 2) + (before, size - 1 - before))  # sums of 1 channel, then of `width`
    width, pieces, done = 1, [], 0
    while done < size:
        if size & width:
            pieces.append(runs.narrow(1, done, channels))
            done += width
        if done < size:
            remaining = runs.shape[1] - width
            runs = runs.narrow(1, 0, remaining) + runs.narrow(1, width, remaining)
            width *= 2
    return sum(pieces[1:], pieces[0])


def sums_by_pooling(x: Tensor, size: int, before: int) -> Tensor:
    """The same sums in one kernel, for accelerators; a CPU's pooling is ten times slower than additions.

    Args:
        x: (n, c, ...), any real dtype.
        size: Channels in a window.
        before: How many of them come before the window's own channel, (size - 1)//2 or size//2.

    Returns:
        The sums, of x's shape and memory format.
    """
    n, channels = x.shape[:2]
    last = x.movedim(1, -1)
    if last.is_contiguous():  # channels_last: pooled along the last dimension, nothing is copied
        rows = last.reshape(n, 1, -1, channels)
        sums = F.avg_pool2d(rows, (1, size), stride=1, padding=(0, size // 2), divisor_override=1)
        return sums.narrow(3, size // 2 - before, channels).reshape(last.shape).movedim(-1, 1)
    columns = x.reshape(n, 1, channels, -1)
    sums = F.avg_pool2d(columns, (size, 1), stride=1, padding=(size // 2, 0), divisor_override=1)
    return sums.narrow(2, size // 2 - before, channels).reshape(x.shape)


def channel_sums(x: Tensor, size: int, before: int) -> Tensor:
    """The sums in the way that is fast where x is."""
    return (sums_by_doubling if x.device.type == "cpu" else sums_by_pooling)(x, size, before)


def scale(x: Tensor, size: int, alpha: float, k: float) -> Tensor:
    """S of the formula; rsub makes k + a W in one pass."""
    return torch.rsub(channel_sums(x.square(), size, size // 2), k, alpha=-alpha / size)


def inverse_power(s: Tensor, beta: float) -> Tensor:
    """s^-beta; for the usual 0.75 from square roots, which are several times faster than powers."""
    if beta != 0.75 or s.device.type != "cpu":  # a device does it in one launch
        return s.pow(-beta)
    root = s.rsqrt()
    return root * root.sqrt()


def in_chunks(formula: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The formula of tensors with the same samples; on a CPU, of some samples at a time."""
    samples = max(1, CHUNK // tensors[0][0].numel())
    if tensors[0].device.type != "cpu" or len(tensors[0]) <= samples:
        return formula(*tensors)
    return torch.cat([formula(*chunk) for chunk in zip(*(tensor.split(samples) for tensor in tensors), strict=True)])


def normalise(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Y of the formula."""
    return x * inverse_power(scale(x, size, alpha, k), beta)


def derivative(x: Tensor, g: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Gradient at x, given the gradient g at y."""
    s = scale(x, size, alpha, k)
    direct = inverse_power(s, beta) * g
    through_sums = channel_sums(direct * x / s, size, (size - 1) // 2)
    return torch.addcmul(direct, x, through_sums, value=-2 * alpha / size * beta)


class _Normalisation(Function):
    """The formula with its own derivatives.

    It keeps nothing but x, and its derivatives are plain operations on x: they can be differentiated again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        return in_chunks(lambda x: normalise(x, size, alpha, beta, k), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.constants = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = in_chunks(lambda x, g: derivative(x, g, *ctx.constants), *ctx.saved_tensors, *gradients)
        return gradient, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (x,), (tangent, *_), (size, alpha, beta, k) = ctx.saved_tensors, tangents, ctx.constants
        s = scale(x, size, alpha, k)
        through_sums = x / s * channel_sums(x * tangent, size, size // 2)
        return inverse_power(s, beta) * torch.add(tangent, through_sums, alpha=-2 * alpha / size * beta)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide x by (k + alpha/size * sum of squares over `size` neighbouring channels)^beta, as torch does.

    It can be differentiated in both modes and repeatedly, mapped by `torch.func.vmap` and compiled.

    Args:
        x: (n, c, ...), float; unlike torch's, also (n, c). Half precisions are computed in float32.
        size: Channels in a window, from c - size//2 to c + (size - 1)//2; those outside x count as zeros.
        alpha: Weight of the mean square.
        beta: Exponent.
        k: Constant added to the weighted mean square.

    Returns:
        The normalised x, of its shape, dtype and memory format.

    Raises:
        ValueError: If the size is below 1, or x has fewer than 2 dimensions.

    Source: Krizhevsky et al. 2012, section 3.3; there, alpha is not divided by the size.
    """
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}")
    if x.dim() < 2:
        raise ValueError(f"x must be (n, c, ...), got shape {tuple(x.shape)}")
    if x.numel() == 0:
        return x
    if x.dtype in {torch.float16, torch.bfloat16}:
        return local_response_norm(x.float(), size, alpha, beta, k).to(x.dtype)
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        # the compiler's own derivative, fused; it takes no custom jvp. On an accelerator launches are what counts
        return normalise(x, size, alpha, beta, k)
    normalised: Tensor = _Normalisation.apply(x, size, alpha, beta, k)
    return normalised


class LocalResponseNorm(nn.LocalResponseNorm):
    """Layer of `local_response_norm`, in the place of torch's layer and of the same type.

    Args:
        size: Channels in a window.
        alpha: Weight of the mean square.
        beta: Exponent.
        k: Constant added to the weighted mean square.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, c, ...)."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)
