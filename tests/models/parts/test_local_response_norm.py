"""Tests of models/parts/local_response_norm.py."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jvp, vmap
from torch.testing import assert_close

from stratoscope.models.parts.local_response_norm import (
    CHUNK,
    LocalResponseNorm,
    local_response_norm,
    sums_by_doubling,
    sums_by_pooling,
)

PAPER = (9, 0.001, 0.75, 1.0)  # size, alpha, beta, k
STRONG = (4, 0.8, 0.75, 1.0)  # normalises by much, so that every term of a derivative shows
SHAPES = [(4, 5, 7), (2, 70, 1), (3, 6, 4, 5), (1, 1, 2, 2), (2, 3, 2, 2, 3)]
# torch imports its rules of forward mode when they are first needed
forward_mode = pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:FutureWarning")
Norm = Callable[[Tensor], Tensor]


def activations(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Normal numbers that need a gradient."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def value_and_gradient(norm: Norm, x: Tensor) -> tuple[Tensor, Tensor]:
    """The norm of x, and the gradient of a fixed random projection of it."""
    y = norm(x)
    (gradient,) = torch.autograd.grad(y, x, activations(*y.shape, seed=1, dtype=torch.bfloat16).to(y).detach())
    return y.detach(), gradient


def assert_equal_to_scale(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """The largest difference is below the tolerance times the largest value; dtype and shape are equal."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 20])
@pytest.mark.parametrize(
    ("alpha", "beta", "k"), [(0.001, 0.75, 1.0), (2.0, 0.75, 2.0), (0.5, 1.0, 1.0), (1.5, 0.3, 0.1)]
)
def test_values_and_gradients_are_those_of_torch(
    dtype: torch.dtype, tolerance: float, shape: tuple[int, ...], size: int, alpha: float, beta: float, k: float
) -> None:
    """For odd and even windows, also wider than all channels, both layers agree to the last digits."""
    x = activations(*shape, dtype=dtype)
    ours = value_and_gradient(LocalResponseNorm(size, alpha, beta, k), x)
    theirs = value_and_gradient(nn.LocalResponseNorm(size, alpha, beta, k), x)
    for mine, other in zip(ours, theirs, strict=True):
        assert_equal_to_scale(mine, other, tolerance)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_many_samples_are_those_of_torch_in_their_memory_format(memory_format: torch.memory_format) -> None:
    """Samples that are worked on in several uneven chunks agree with torch's; results lie in memory as x does."""
    samples = 2 * CHUNK // (64 * 14 * 14) + 3
    x = (5 * activations(samples, 64, 14, 14).detach()).to(memory_format=memory_format).requires_grad_()
    ours = value_and_gradient(LocalResponseNorm(*PAPER), x)
    theirs = value_and_gradient(nn.LocalResponseNorm(*PAPER), x)
    for mine, other in zip(ours, theirs, strict=True):
        assert_equal_to_scale(mine, other, 1e-6)
        assert mine.is_contiguous(memory_format=memory_format)


def test_views_are_normalised() -> None:
    """Neither transposed nor strided nor expanded activations need be copied first."""
    x = activations(6, 8, 10)
    for view in (x.transpose(1, 2), x[:, ::2], x[::2, 1:, 3:], x[:1].expand(3, 8, 10)):
        assert_close(local_response_norm(view, *PAPER), nn.LocalResponseNorm(*PAPER)(view))


@pytest.mark.parametrize("size", [3, 4, 30])
def test_the_formula_channel_by_channel(size: int) -> None:
    """A channel is divided by the power of k plus alpha times the mean square of its window, zeros outside."""
    x = activations(5, 12, dtype=torch.float64)
    for c in range(12):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        wanted = x[:, c] / (1.5 + 0.7 / size * window.square().sum(1)) ** 0.75
        assert_close(local_response_norm(x, size, 0.7, 0.75, 1.5)[:, c], wanted)


def test_defaults_are_those_of_torch() -> None:
    """A layer of a size alone is torch's, by type, constants and description."""
    ours, theirs = LocalResponseNorm(5), nn.LocalResponseNorm(5)
    assert isinstance(ours, nn.LocalResponseNorm)
    assert repr(ours) == repr(theirs)
    x = 30 * activations(3, 8, 4).detach()
    assert_close(ours(x), theirs(x))
    assert_close(local_response_norm(x, 5), theirs(x))


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 9, 16])
@pytest.mark.parametrize("shape", [(3, 5), *SHAPES])
def test_both_ways_to_sum_agree(shape: tuple[int, ...], size: int, before: int) -> None:
    """The sums for accelerators are those for CPUs, for the window and its mirror image, in the same memory format."""
    x, before = activations(*shape, dtype=torch.float64), (size - before) // 2
    for order in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
        pooled, doubled = sums_by_pooling(order, size, before), sums_by_doubling(order, size, before)
        assert_close(pooled, doubled)
        if size % 2:  # the even window's last sum is left out, and leaves a gap
            assert pooled.movedim(1, -1).is_contiguous() == order.movedim(1, -1).is_contiguous()


@forward_mode
@pytest.mark.parametrize(
    ("shape", "size", "beta"),
    [  # every two values come together in one that is not slow
        pytest.param(shape, size, beta, marks=[pytest.mark.slow] if (len(shape) + size + (beta == 0.4)) % 2 else [])
        for shape in ((2, 5), (2, 5, 2), (1, 6, 1, 2))
        for size in (3, 4)
        for beta in (0.75, 0.4)
    ],
)
def test_first_and_second_derivatives_are_right(shape: tuple[int, ...], size: int, beta: float) -> None:
    """Finite differences agree in reverse mode, forward mode, batched, and with both kinds of second derivatives."""
    norm, x = (
        partial(local_response_norm, size=size, alpha=0.8, beta=beta, k=1.2),
        activations(*shape, dtype=torch.float64),
    )
    assert gradcheck(norm, x, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(norm, x, check_fwd_over_rev=True, check_rev_over_rev=True)


@forward_mode
def test_derivatives_are_right_where_sums_are_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an accelerator does gives the same derivatives, first and second."""
    # the package may export the function of this name
    module = import_module("stratoscope.models.parts.local_response_norm")
    monkeypatch.setattr(module, "sums_by_doubling", sums_by_pooling)
    norm, x = LocalResponseNorm(*STRONG), activations(2, 5, 2, dtype=torch.float64)
    assert gradcheck(norm, x, check_forward_ad=True)
    assert gradgradcheck(norm, x, check_fwd_over_rev=True)


def test_hessian_vector_products_are_those_of_torch() -> None:
    """Twice backward gives the product of torch's layer, also over chunks."""
    x = activations(3 * CHUNK // (32 * 14 * 14), 32, 14, 14, dtype=torch.float64)
    vector = activations(*x.shape, dtype=torch.float64, seed=2).detach()

    def product(norm: Norm) -> Tensor:
        (gradient,) = torch.autograd.grad(norm(x).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad((gradient * vector).sum(), x)[0]

    assert_equal_to_scale(product(LocalResponseNorm(*STRONG)), product(nn.LocalResponseNorm(*STRONG)), 1e-13)


@forward_mode
def test_function_transforms_are_those_of_torch() -> None:
    """torch.func's grad, vmap over it (samples or models), jvp and hessian give what they give for torch's layer."""
    x = activations(4, 2, 5, 3, dtype=torch.float64).detach()

    def transforms(norm: Norm) -> list[Any]:
        def loss(x: Tensor) -> Tensor:
            return norm(x).pow(3).sum()

        return [
            vmap(norm)(x),
            vmap(norm, in_dims=3)(x),
            grad(loss)(x),
            vmap(grad(loss))(x),
            jvp(norm, (x,), (x.cos(),)),
            jvp(grad(loss), (x,), (x.cos(),)),
            hessian(loss)(x[0]),
        ]

    assert_close(transforms(LocalResponseNorm(*STRONG)), transforms(nn.LocalResponseNorm(*STRONG)))


@pytest.mark.parametrize("shape", [(2, 6, 3, 3), (2 + CHUNK // 600, 6, 10, 10)])
def test_it_compiles_in_one_graph(shape: tuple[int, ...]) -> None:
    """Compiled forward and backward, small and large, give what eager ones give; no graph breaks."""
    layer, x = LocalResponseNorm(*STRONG), activations(*shape)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_close(value_and_gradient(compiled, x), value_and_gradient(layer, x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_are_rounded_once(dtype: torch.dtype) -> None:
    """Values and gradients are those of float64, rounded to the dtype; under autocast too."""
    x = activations(4, 64, 6, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        ours = value_and_gradient(LocalResponseNorm(*PAPER), x)
    exact = value_and_gradient(nn.LocalResponseNorm(*PAPER), x.detach().double().requires_grad_())
    for mine, other in zip(ours, exact, strict=True):
        assert_equal_to_scale(mine, other.to(dtype), torch.finfo(dtype).eps / 2)


def test_autocast_leaves_float32_as_it_is() -> None:
    """What autocast does not cast comes out in full precision."""
    x = activations(4, 16, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(local_response_norm(x, *STRONG), local_response_norm(x, *STRONG), rtol=0, atol=0)
        assert local_response_norm(x, *STRONG).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0, 3)])
def test_nothing_is_normalised_to_nothing(shape: tuple[int, ...]) -> None:
    """Empty activations keep their shape, as in torch."""
    assert LocalResponseNorm(5)(torch.empty(shape)).shape == shape


@pytest.mark.parametrize("size", [0, -2])
def test_a_bad_size_is_refused(size: int) -> None:
    """The message names the size and its value."""
    with pytest.raises(ValueError, match=rf"size .*got {size}"):
        local_response_norm(torch.ones(2, 3), size)


def test_activations_without_channels_are_refused() -> None:
    """The message says the shape."""
    with pytest.raises(ValueError, match=r"\(n, c, \.\.\.\), got shape \(3,\)"):
        local_response_norm(torch.ones(3), 5)
