"""The network, features and fits whose costs `probes.py` and `gpu.py` measure."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import exp, log
from pathlib import Path
from statistics import mean, median

import torch
from options import images
from ratios import Ratio, clock_of, compare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stratoscope.datamodules import ImageSet, PartialLabels
from stratoscope.models import small_alexnet
from stratoscope.probes import LogisticFit, Standardisation, average_pool, fit_logistic, frozen, read_features
from stratoscope.probes.reading.sharding import Shard

RIDGE, RIDGES = 1e-4, (1e-4, 1e-3, 1e-2)
TOLS = (1e-4, 1e-8)
EPOCHS = 5  # before the fits that warm ones start from
TAPS = ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "logits"]
Features = dict[str, Tensor]


def half_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where there are instructions for it; without, as on a CPU with AVX2 only, it is ten times slower."""
    fast = device.type != "cpu" or "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def training_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, data: ImageSet) -> None:
    """One epoch in half precision with the channels last."""
    network.train()
    device = data.data.index.device
    for index in torch.randperm(len(data), device=device).split(128):
        batch = data.read(index)
        with half_precision(device):
            loss = cross_entropy(network(batch.image.contiguous(memory_format=torch.channels_last)), batch.given_label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def all_features(
    network: nn.Module, data: ImageSet, size: int | None = None, width: int = 1024, taps: Sequence[str] = TAPS
) -> Features:
    """Features of layers on the first samples."""
    pieces: dict[str, list[Tensor]] = {tap: [] for tap in taps}
    device, pooled = data.data.index.device, dict.fromkeys(taps, partial(average_pool, width=width))
    with frozen(network), half_precision(device):
        for block in Shard(device=device).blocks(list(range(size or len(data)))):
            image = data.__getitems__(block).image.contiguous(memory_format=torch.channels_last)
            for tap, rows in read_features(network, network, image, pooled).items():
                pieces[tap].append(rows)
    return {tap: torch.cat(rows) for tap, rows in pieces.items()}


def standardised(features: Tensor) -> Tensor:
    """Features with mean 0 and deviation 1."""
    return Standardisation.fit(features)(features)


def weights(fits: list[LogisticFit]) -> Tensor:
    """What the next fits start from."""
    return torch.stack([torch.cat([fit.weight, fit.bias[None]]) for fit in fits])


def objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, ridge: float = RIDGE) -> tuple[float, float]:
    """P and |grad P| in float64."""
    weight, bias = weight.double(), bias.double()
    total, gradient, shift = 0.0, torch.zeros_like(weight), torch.zeros_like(bias)
    for rows, label in zip(x.split(2000), y.split(2000), strict=True):
        logits = rows.double() @ weight + bias
        total += float(cross_entropy(logits, label, reduction="sum"))
        residual = logits.softmax(1) - nn.functional.one_hot(label, logits.shape[1])
        gradient, shift = gradient + rows.double().T @ residual, shift + residual.sum(0)
    gradient = torch.cat([gradient / len(x) + ridge * weight, shift[None] / len(x)])
    return total / len(x) + ridge / 2 * float(weight.square().sum()), float(gradient.norm())


def by_scikit_learn(x: Tensor, y: Tensor, ridge: float = RIDGE, tol: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Its logistic regression by L-BFGS."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1 / (len(x) * ridge), tol=tol, max_iter=10_000).fit(x.numpy(), y.numpy())
    return torch.from_numpy(fitted.coef_).T, torch.from_numpy(fitted.intercept_)


def by_adam(x: Tensor, y: Tensor, epochs: int = 100) -> tuple[Tensor, Tensor]:
    """What most probe code does: Adam on batches of 256."""
    probe = nn.Linear(x.shape[1], 10)
    optimizer = torch.optim.Adam(probe.parameters(), lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(256):
            loss = cross_entropy(probe(x[index]), y[index]) + RIDGE / 2 * probe.weight.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return probe.weight.detach().T, probe.bias.detach()


def scikit_learn_seconds(file: Path, tap: str, threads: int) -> float:
    """Wall-clock seconds of its fits of one layer, one for each label set; to be called in a process of its own.

    Args:
        file: Features by layer, and the labels (k, n).
        tap: The layer.
        threads: Of its linear algebra.
    """
    from threadpoolctl import threadpool_limits

    layers = torch.load(file, mmap=True)
    x, labels = layers[tap].clone(), layers["labels"].clone()
    with threadpool_limits(threads):
        began = time.perf_counter()
        for y in labels:
            by_scikit_learn(x, y)
        return time.perf_counter() - began


def both(
    what: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    at_least: float,
    blocks: int,
    device: str = "cpu",
) -> Ratio:
    """Compare, say so at once, and return the ratio."""
    found = compare(theirs, ours, blocks, clock_of(device)).of(what, at_least)
    print(f"  {what}: {found.median:.2f}", flush=True)
    return found


class Bench:
    """The network after `EPOCHS` epochs and one more, its features at both times, and the fits at the first.

    Args:
        folder: Of real CIFAR-10; None generates images.
        samples: Training images.
        few: The first so many of them are probed alone too.
        device: Where.
        width: Most features per layer.
        taps: The layers; `pool2` among them.
    """

    def __init__(
        self,
        folder: str | None,
        samples: int,
        few: int,
        device: str = "cpu",
        width: int = 1024,
        taps: Sequence[str] = TAPS,
    ) -> None:
        self.width, self.taps = width, taps
        data = images(folder, samples, PartialLabels(0.4))
        self.train, self.few, self.device = data.sets["train"], min(few, samples), device
        self.train.to(torch.device(device))
        self.labels = torch.stack([self.train.data.true_label, self.train.data.given_label])
        network = small_alexnet(local_response_norm=False)
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        for _ in range(EPOCHS):
            self.epoch()
        before = self.read()
        self.start = {
            size: {tap: weights(self.fit(x[:size])) for tap, x in before.items()} for size in {samples, self.few}
        }
        self.epoch()
        self.now = {tap: standardised(x) for tap, x in self.read().items()}

    def read(self, size: int | None = None) -> Features:
        """Features of all layers on the first samples."""
        return all_features(self.network, self.train, size, self.width, self.taps)

    def epoch(self) -> None:
        """Train."""
        training_epoch(self.network, self.optimizer, self.train)

    def fit(self, features: Tensor, start: Tensor | None = None) -> list[LogisticFit]:
        """Fit true and given labels of the first samples."""
        return fit_logistic(standardised(features), self.labels[:, : len(features)], 10, RIDGE, start=start)

    def probing(self, size: int) -> None:
        """Read and fit all layers on the first samples, warm."""
        for tap, features in self.read(size).items():
            self.fit(features, self.start[size][tap])

    def epochs(self, blocks: int) -> list[Ratio]:
        """A training epoch against probing all layers."""
        size = len(self.train)
        what, probing = "training epoch / probing all layers", partial(self.probing, size)
        rows = [both(f"{what}, warm", self.epoch, probing, 1, blocks, self.device)]
        if self.few < size:
            what, probing = f"{what} on {self.few:,} images", partial(self.probing, self.few)
            rows.append(both(f"{what}, warm", self.epoch, probing, 4, blocks, self.device))
        return rows

    def iterations(self, _: int) -> list[Ratio]:
        """What the fits end with, and how often they iterate, cold and warm."""
        print(f"\n{self.iterations_table()}\n", flush=True)
        return []

    def iterations_table(self) -> str:
        """Iterations and gaps of every layer as Markdown."""
        lines = ["| layer | iterations cold: true, given | warm | gaps cold | warm |", "|---|---|---|---|---|"]
        spent: list[tuple[int, int]] = []
        for tap, x in self.now.items():
            cold, warm = self.fit(x), self.fit(x, self.start[len(x)][tap])
            spent.append((sum(f.iterations for f in cold), sum(f.iterations for f in warm)))
            counts = [", ".join(str(fit.iterations) for fit in fits) for fits in (cold, warm)]
            gaps = [", ".join(f"{fit.gap:.1e}" for fit in fits) for fits in (cold, warm)]
            lines.append(f"| {tap} ({x.shape[1]}) | {counts[0]} | {counts[1]} | {gaps[0]} | {gaps[1]} |")
        ratio = sum(cold for cold, _ in spent) / sum(warm for _, warm in spent)
        return "\n".join([*lines, "", f"Iterations cold / warm after epoch {EPOCHS}: {ratio:.2f} (at least 3)."])

    def bound_table(self, blocks: int) -> str:
        """The time of reading, and of fitting every layer, beside what reading its features from memory takes alone."""
        moved = self.bandwidth()
        began = self.seconds(self.read, blocks)
        lines = ["| what | ms | passes over the features | ms at the memory's speed |", "|---|---|---|---|"]
        lines.append(f"| reading {len(self.train):,} images, {len(self.taps)} layers | {1e3 * began:.1f} | | |")
        for tap, x in self.now.items():
            start = self.start[len(x)][tap]
            passes = 2 * max(fit.iterations for fit in self.fit(x, start)) + 6  # the certificate and the sample too
            took = self.seconds(partial(self.fit, x, start), blocks)
            bound = passes * x.numel() * x.element_size() / moved
            lines.append(f"| {tap} ({x.shape[1]}) | {1e3 * took:.1f} | {passes} | {1e3 * bound:.1f} |")
        return "\n".join([*lines, "", f"Memory is read at {moved / 1e9:,.0f} GB/s."])

    def bandwidth(self) -> float:
        """Bytes of the widest features that the device reads in a second, by a sum."""
        widest = max(self.now.values(), key=Tensor.numel)
        return widest.numel() * widest.element_size() / self.seconds(widest.sum, 5)

    def seconds(self, work: Callable[[], object], blocks: int) -> float:
        """The median time of some work, after once to warm up."""
        clock, times = clock_of(self.device), list[float]()
        work()
        for _ in range(blocks):
            began = clock()
            work()
            times.append(clock() - began)
        return median(times)

    def cold_seconds(self, samples: int, blocks: int) -> list[float]:
        """Seconds of fitting the true and given labels of the first samples of every layer from nothing."""
        return [self.seconds(partial(self.fit, x[:samples]), blocks) for x in self.now.values()]

    def adam(self, blocks: int) -> list[Ratio]:
        """100 epochs of Adam against a cold fit."""
        x, y = self.now["pool2"], self.labels[0]
        ours = fit_logistic(x, y[None], 10, RIDGE)[0]
        adams = objective(x, y, *by_adam(x, y))[0]
        print(
            f"Adam's P {adams:.5f} (at least {adams - ours.objective:.1e} from the optimum); ours {ours.objective:.7f}"
        )
        print(f"(gap {ours.gap:.1e})", flush=True)
        one = partial(fit_logistic, x, y[None], 10, RIDGE)
        return [both("Adam, 100 epochs / ours, cold, pool2", partial(by_adam, x, y), one, 5, blocks)]

    def cold(self, blocks: int) -> list[Ratio]:
        """scikit-learn against a cold fit of one label set, layer by layer."""
        print("\n| layer | scikit-learn's P, norm of its gradient: tol 1e-4 | tol 1e-8 | ours P, norm, gap |")
        print("|---|---|---|---|")
        rows = []
        for tap, x in reversed(self.now.items()):  # the narrow ones first: they take seconds, the wide ones hours
            y = self.labels[0]
            ours = fit_logistic(x, y[None], 10, RIDGE)[0]
            ends = ["{:.7f}, {:.1e}".format(*objective(x, y, *by_scikit_learn(x, y, tol=tol))) for tol in TOLS]
            own = f"{ours.objective:.7f}, {ours.gradient_norm:.1e}, {ours.gap:.1e}"
            print(f"| {tap} ({x.shape[1]}) | {ends[0]} | {ends[1]} | {own} |", flush=True)
            one = partial(fit_logistic, x, y[None], 10, RIDGE)
            for tol in TOLS:
                what = f"scikit-learn (tol {tol:g}) / ours, cold, {tap}"
                rows.append(both(what, partial(by_scikit_learn, x, y, tol=tol), one, 1.5, blocks))
        print(f"\nGeometric mean: {exp(mean(log(row.median) for row in rows)):.2f} (at least 3).")
        return rows

    def users(self, blocks: int) -> list[Ratio]:
        """Each layer x two label sets x three ridges: one by one against all at once, warm."""

        def at_once() -> None:
            for tap, x in self.now.items():
                first = self.start[len(x)][tap].repeat_interleave(len(RIDGES), 0)
                labels = self.labels.repeat_interleave(len(RIDGES), 0)
                fit_logistic(x, labels, 10, [*RIDGES, *RIDGES], start=first)

        def one_by_one() -> None:
            for x in self.now.values():
                for y in self.labels:
                    for ridge in RIDGES:
                        by_scikit_learn(x, y, ridge)

        return [
            both(f"an epoch as users do it, {len(self.taps)} layers x 2 x 3 / ours", one_by_one, at_once, 15, blocks)
        ]
