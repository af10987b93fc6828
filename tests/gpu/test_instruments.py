"""Every instrument gives on a GPU what it gives on the CPU, to rounding."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from stratoscope import probes
from stratoscope.models.parts.local_response_norm import local_response_norm
from tests.gpu.devices import BOTH, GPU

N, D, CLASSES = 1500, 40, 5


def features(n: int = N, d: int = D) -> Tensor:
    """Features of unequal scale, some constant."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n + d)) * torch.linspace(0.1, 3, d) + 2
    x[:, 0] = 1.5
    return x


def labels(n: int = N) -> Tensor:
    """Labels that the features know something of."""
    noise = torch.randn(n, generator=torch.Generator().manual_seed(n))
    return ((features(n)[:, 5] + features(n)[:, 9] - 4 + noise) * 0.7).round().long().clamp(-2, 2) + 2


def logistic(x: Tensor, y: Tensor) -> list[float]:
    """Objectives of two ridges and label sets; certified."""
    x = probes.Standardisation.fit(x)(x)
    fits = probes.fit_logistic(x, torch.stack([y, y.flip(0)]), CLASSES, [1e-3, 1e-2], tolerance=1e-8)
    assert all(fit.converged for fit in fits)
    return [fit.objective for fit in fits]


def ridge(x: Tensor, y: Tensor) -> list[float | None]:
    """Objectives and left-out errors of a path."""
    path = probes.fit_ridge(x, y[None], CLASSES, [1e-3, 1.0])[0]
    return [number for fit in path for number in (fit.objective, fit.left_out_error, fit.left_out_accuracy)]


def wide_ridge(x: Tensor, y: Tensor) -> list[float | None]:
    """The same with more features than rows."""
    return ridge(x[:30], y[:30])


def wide_logistic(x: Tensor, y: Tensor) -> list[float]:
    """More features than rows, so that the preconditioner is never formed."""
    return logistic(x[:30], y[:30])


def collapse(x: Tensor, y: Tensor) -> list[float | None]:
    """NC1 to NC4."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CLASSES, D, generator=generator).to(x)
    logits = torch.randn(N, CLASSES, generator=generator).to(x)
    return list(asdict(probes.neural_collapse(x, y, CLASSES, weight, logits)).values())


def separable(x: Tensor, y: Tensor) -> list[float | None]:
    """Accuracies and losses on two sets."""
    train = probes.LabelledFeatures(x[:1000], {"true_label": y[:1000]})
    test = probes.LabelledFeatures(x[1000:], {"true_label": y[1000:]})
    rows, weight = probes.separability(train, {"train": train, "test": test}, CLASSES, [1e-3, 1e-2], 1e-8)
    assert weight is not None
    again, _ = probes.separability(train, {"train": train}, CLASSES, [1e-3, 1e-2], 1e-8, start=weight.cpu())
    return [row.loss for row in [*rows, *again]]


INSTRUMENTS: list[Callable[[Tensor, Tensor], Any]] = [
    logistic,
    wide_logistic,
    ridge,
    wide_ridge,
    collapse,
    separable,
    lambda x, y: list(probes.neighbour_accuracy(x[:1000], y[:1000], x[1000:], y[1000:], CLASSES)),
    lambda x, y: probes.spectrum(x),
    lambda x, y: probes.spectrum(x[:30]),
    lambda x, y: probes.linear_cka(x, x[:, :7]),
    lambda x, y: probes.Standardisation.fit(x)(x),
]
NAMES = ["logistic", "logistic wide", "ridge", "ridge wide", "collapse", "separability", "neighbours"]
NAMES += ["spectrum", "spectrum wide", "cka", "standardisation"]


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("measure", INSTRUMENTS, ids=NAMES)
def test_instruments_agree_with_the_cpu(measure: Callable[[Tensor, Tensor], Any], device: str) -> None:
    """The same features and labels in both places."""
    x, y = features(), labels()
    one, other = measure(x, y), measure(x.to(device), y.to(device))
    if isinstance(other, Tensor):
        assert other.device.type == device
        one, other = one.cpu(), other.cpu()
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6, 32, 9, 9), (6, 3000)])
@pytest.mark.parametrize("name", ["none", "average_pool", "channel_means", "feature_subset", "random_projection"])
def test_reductions_agree_with_the_cpu(name: str, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    """Of feature maps and of rows, in single and in half precision."""
    activation = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    reduce = probes.reduction(name, 64)
    one, other = reduce(activation), reduce(activation.to(device))
    assert other.device.type == device
    torch.testing.assert_close(one, other.cpu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("size", [4, 9])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_local_response_normalisation_agrees_with_the_cpu(
    memory_format: torch.memory_format, size: int, device: str
) -> None:
    """Values and derivatives, for windows of even and odd size."""
    x = torch.randn(4, 16, 5, 5, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    found = []
    for place in ("cpu", device):
        there = x.to(place).requires_grad_()
        y = local_response_norm(there, size, 0.01, 0.75, 1.0)
        (gradient,) = torch.autograd.grad(y.square().sum(), there)
        found.append((y.detach().cpu(), gradient.cpu()))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", BOTH)
def test_the_random_numbers_of_the_device_are_left_alone(device: str) -> None:
    """What is drawn inside `frozen` is not missing after it."""
    module = torch.nn.Linear(2, 2).to(device)
    torch.rand(1, device=device)  # from now on the device has a generator in use
    torch.manual_seed(1)
    first = torch.rand(2, device=device)
    torch.manual_seed(1)
    with probes.frozen(module):
        torch.rand(5, device=device)
    assert torch.equal(torch.rand(2, device=device), first)


@pytest.mark.parametrize("device", [GPU])
def test_with_too_little_memory_for_all_problems_they_are_fitted_one_by_one(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are those of enough memory."""
    n, d, kinds, fitted = 40_000, 128, 40, list[int]()

    def counted(features: Tensor, labels: Tensor, *more: Any, **settings: Any) -> Any:
        fitted.append(len(labels))
        return probes.fit_logistic(features, labels, *more, **settings)

    monkeypatch.setattr("stratoscope.probes.linear.separability.fit_logistic", counted)
    x, y = features(n, d).to(device), labels(n).to(device)
    data = probes.LabelledFeatures(x, {f"label {kind}": y.roll(kind) for kind in range(kinds)})
    enough, _ = probes.separability(data, {"train": data}, CLASSES, 1e-2)
    assert fitted == [kinds]
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 160 * 2**20) / whole)
        little, _ = probes.separability(data, {"train": data}, CLASSES, 1e-2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert fitted == [kinds, kinds, *[1] * kinds]
    assert [row.failed for row in little if row.failed] == []
    for one, other in zip(enough, little, strict=True):
        assert one.objective == pytest.approx(other.objective, abs=2e-6)
