"""What converged probes cost: scikit-learn, Adam and a training epoch against ours.

    python scripts/bench/probes.py [--quick] [--data FOLDER] [--samples 50000] [--blocks 7]

SmallAlexNet (no LRN, bfloat16) is trained for two epochs, on labels of which 40 % are redrawn; its layers are probed
after each, on true and given labels. Features are pooled to at most 1,024 and standardised, the ridge is 1e-4
(scikit-learn's C = 1 / (n ridge)), the bias unpenalised. "Warm" fits start from those an epoch earlier.
"""

import argparse
import resource
import time
import warnings
from collections.abc import Callable
from functools import partial
from math import exp, log
from statistics import mean

import torch
from ratios import Ratio, compare, table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stratoscope.datamodules import CIFAR10, ImageDataModule, ImageSet, PartialLabels, RandomSubset, Shapes
from stratoscope.models import small_alexnet
from stratoscope.probes import LogisticFit, Standardisation, average_pool, fit_logistic, frozen, read_features

RIDGE, RIDGES = 1e-4, (1e-4, 1e-3, 1e-2)
TAPS = ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "logits"]
Features = dict[str, Tensor]


def training_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, data: ImageSet) -> None:
    """One epoch in bfloat16 with the channels last."""
    network.train()
    for index in torch.randperm(len(data)).split(128):
        batch = data.read(index)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(network(batch.image.contiguous(memory_format=torch.channels_last)), batch.given_label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def all_features(network: nn.Module, data: ImageSet) -> Features:
    """Features of all layers on the whole set."""
    pieces: dict[str, list[Tensor]] = {tap: [] for tap in TAPS}
    with frozen(network), torch.autocast("cpu", torch.bfloat16):
        for index in torch.arange(len(data)).split(500):
            image = data.read(index).image.contiguous(memory_format=torch.channels_last)
            for tap, rows in read_features(network, network, image, TAPS, partial(average_pool, width=1024)).items():
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


def both(what: str, theirs: Callable[[], object], ours: Callable[[], object], at_least: float, blocks: int) -> Ratio:
    """Compare, say so at once, and return the ratio."""
    found = compare(theirs, ours, blocks).of(what, at_least)
    print(f"  {what}: {found.median:.2f}", flush=True)
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="3,000 samples and 3 blocks")
    parser.add_argument("--data", default=None, help="folder of real CIFAR-10; generated images otherwise")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    samples, blocks = (3000, 3) if options.quick else (options.samples, options.blocks)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")

    noise = [RandomSubset(samples), PartialLabels(0.4)]
    data: ImageDataModule = (
        CIFAR10(options.data, corruption=noise)
        if options.data
        else Shapes(train_size=samples, size=28, corruption=noise)
    )
    data.prepare_data()
    data.setup()
    train = data.sets["train"]
    labels = torch.stack([train.data.true_label, train.data.given_label])
    network = small_alexnet(local_response_norm=False).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    training_epoch(network, optimizer, train)
    before = all_features(network, train)
    started = {tap: fit_logistic(standardised(x), labels, 10, RIDGE) for tap, x in before.items()}
    start = {tap: weights(fits) for tap, fits in started.items()}
    training_epoch(network, optimizer, train)
    now = all_features(network, train)

    found: list[Ratio] = []
    lines = ["", "| layer | scikit-learn P, norm of gradient | Adam P | ours P, norm, gap | iterations cold, warm |"]
    lines.append("|---|---|---|---|---|")
    cold_warm = []
    for tap, features in now.items():
        x = standardised(features)
        cold, warm = (fit_logistic(x, labels, 10, RIDGE, start=first) for first in (None, start[tap]))
        cold_warm.append(sum(f.iterations for f in cold) / max(1, sum(f.iterations for f in warm)))
        theirs, adams = by_scikit_learn(x, labels[0]), by_adam(x, labels[0])
        ours = cold[0]
        value, norm = objective(x, labels[0], *theirs)
        lines.append(
            f"| {tap} ({x.shape[1]}) | {value:.7f}, {norm:.1e} | {objective(x, labels[0], *adams)[0]:.5f} "
            f"| {ours.objective:.7f}, {ours.gradient_norm:.1e}, {ours.gap:.1e} "
            f"| {[f.iterations for f in cold]}, {[f.iterations for f in warm]} |"
        )
        one = partial(fit_logistic, x, labels[:1], 10, RIDGE)
        for tol in (1e-4, 1e-8):
            what = f"scikit-learn (tol {tol:g}) / ours, cold, {tap}"
            found.append(both(what, partial(by_scikit_learn, x, labels[0], tol=tol), one, 1.5, blocks))
        if tap == "pool2":
            found.append(
                both(f"Adam, 100 epochs / ours, {tap}", partial(by_adam, x, labels[0]), one, 5, min(blocks, 3))
            )

    def probing() -> None:
        for tap, features in all_features(network, train).items():
            fit_logistic(standardised(features), labels, 10, RIDGE, start=start[tap])

    def six_problems() -> None:
        for tap, features in now.items():
            first = start[tap].repeat_interleave(len(RIDGES), 0)
            many = labels.repeat_interleave(len(RIDGES), 0)
            fit_logistic(standardised(features), many, 10, [*RIDGES, *RIDGES], start=first)

    def one_by_one() -> None:
        for features in now.values():
            x = standardised(features)
            for y in labels:
                for ridge in RIDGES:
                    by_scikit_learn(x, y, ridge)

    found.append(both("an epoch as users do it, 7 layers x 2 x 3 / ours", one_by_one, six_problems, 15, min(blocks, 3)))
    epoch = partial(training_epoch, network, optimizer, train)
    at_least = 1 if samples > 10_000 else 4
    found.append(both("training epoch / probing all layers, warm", epoch, probing, at_least, blocks))
    print(table(found))
    print("\n".join(lines))
    rates = [row.median for row in found if "cold" in row.what]
    print(f"\nGeometric mean of scikit-learn / ours: {exp(mean(map(log, rates))):.2f} (at least 3).")
    print(f"Iterations cold / warm: {mean(cold_warm):.2f} (at least 3 after the fifth epoch; here after the second).")
    print(f"{samples} samples; {options.threads} threads; torch {torch.__version__}; CPU time of the process;")
    print(f"{'real CIFAR-10' if options.data else 'generated images'}; peak memory of the process ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
