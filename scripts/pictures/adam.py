"""The figure of docs/explanation/certified_probes.md: a probe trained by Adam, against the optimum of the same problem.

python scripts/pictures/adam.py docs/explanation/adam.png
"""

import sys
from pathlib import Path

import matplotlib
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stratoscope.datamodules import Digits, RandomLabels
from stratoscope.files.atomic import replacing
from stratoscope.models import MLP
from stratoscope.probes import Standardisation, fit_logistic

RIDGE = 1e-3
EPOCHS, BATCH = 200, 128
RATES = {1e-2: "#d55e00", 1e-3: "#0072b2", 1e-4: "#009e73"}  # told apart in every kind of colour vision


def problem() -> tuple[Tensor, Tensor]:
    """Standardised features (n, d) of an untrained perceptron's first hidden layer, and random labels of digits."""
    torch.manual_seed(0)
    train = RandomLabels(seed=0)(Digits().load(), 10)["train"]
    network = MLP(depth=2).network.eval()
    hidden = nn.Sequential(*list(network.children())[:3])  # flatten, fc1, relu1
    with torch.no_grad():
        features = hidden(train.image.float() / 127.5 - 1)
    return Standardisation.fit(features)(features), train.given_label


def by_adam(features: Tensor, labels: Tensor, rate: float) -> tuple[list[float], list[float]]:
    """Objective in nats and training accuracy in % of a probe after every epoch of Adam, its ridge as weight decay."""
    torch.manual_seed(0)
    probe = nn.Linear(features.shape[1], 10)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    adam = torch.optim.Adam(probe.parameters(), lr=rate)

    def objective(rows: Tensor) -> Tensor:
        return cross_entropy(probe(features[rows]), labels[rows]) + RIDGE / 2 * probe.weight.square().sum()

    whole = torch.arange(len(labels))
    objectives, accuracies = [], []
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            adam.zero_grad()
            objective(rows).backward()
            adam.step()
        with torch.no_grad():
            objectives.append(float(objective(whole)))
            accuracies.append(100 * float((probe(features).argmax(1) == labels).float().mean()))
    return objectives, accuracies


def main(picture: str) -> None:
    """Fit, and draw objective and accuracy by epoch."""
    features, labels = problem()
    (fit,) = fit_logistic(features, labels[None], 10, RIDGE)
    best = 100 * float((fit.logits(features).argmax(1) == labels).float().mean())
    with matplotlib.rc_context({"font.size": 11}):
        figure = Figure(figsize=(10, 3.8), layout="constrained", dpi=110)
        canvas = FigureCanvasAgg(figure)
        above, accuracy = figure.subplots(1, 2)
        for rate, colour in RATES.items():
            objectives, accuracies = by_adam(features, labels, rate)
            style = {"color": colour, "label": f"Adam, learning rate {rate:g}"}
            above.semilogy(range(1, EPOCHS + 1), [value - fit.objective for value in objectives], **style)
            accuracy.plot(range(1, EPOCHS + 1), accuracies, **style)
            print(f"Adam {rate:g}: {objectives[-1] - fit.objective:.2g} nats above, {accuracies[-1]:.1f} %")
        print(f"optimum: gap {fit.gap:.2g} nats, {best:.1f} %, {fit.iterations} iterations")
        above.axhline(fit.gap, color="black", linestyle="--", label="certified probe: at most this far")
        accuracy.axhline(best, color="black", linestyle="--", label="certified probe")
        above.set_title("Distance from the optimum, nats", loc="left", fontsize=12)
        accuracy.set_title("Accuracy on the random labels, %; chance is 10 %", loc="left", fontsize=12)
        for axis in (above, accuracy):
            axis.set_xlabel("epochs of Adam")
            axis.spines[["top", "right"]].set_visible(False)
        above.legend(frameon=False, loc="center right")
        title = "One probe, 1,437 digits with random labels, 512 features of an untrained perceptron, ridge 0.001"
        figure.suptitle(title, fontsize=12, x=0.01, ha="left", color="0.35")
        with replacing(Path(picture)) as part:
            canvas.print_png(part)


if __name__ == "__main__":
    main(*sys.argv[1:])
