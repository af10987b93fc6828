"""The picture at the head of README.md: a network trained on true and on random labels, layer by layer, by epoch.

Its two runs, FOLDER being that of CIFAR-10:

    OPTIONS="--model SmallAlexNet --model.local_response_norm false --model.width_multiplier 0.5 --data CIFAR10
             --data.root FOLDER --data.batch_size 32 --data.corruption+ RandomSubset --data.corruption.n 2000
             --trainer.max_epochs 30 --trainer.check_val_every_n_epoch 10 --threads 1 --trainer.callbacks LinearProbes
             --trainer.callbacks.taps [input,network.pool*,network.relu3,network.relu4,network.logits]
             --trainer.callbacks.epochs [0,1,2,4,7,12,20,30]"
    stratoscope fit $OPTIONS --run true-labels
    stratoscope fit $OPTIONS --data.corruption+ RandomLabels --run random-labels
    python scripts/pictures/front.py runs docs/front.png
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pandas import DataFrame, pivot_table

from stratoscope import load_runs
from stratoscope.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

CHANCE = 10  # %, of ten classes of equal size
# run, kind of labels, set; what stands above the panel
PANELS = {
    ("true-labels", "true_label", "test"): "Trained on true labels\nprobes of the true classes, test images",
    ("random-labels", "true_label", "test"): "Trained on random labels\nprobes of the true classes, test images",
    ("random-labels", "given_label", "train"): "Trained on random labels\nprobes of these labels, training images",
}
SCALE = {"true_label": (CHANCE, 50), "given_label": (CHANCE, 100)}  # %, the same for panels that are compared
SHOWN = {"network.relu3": "fc 1", "network.relu4": "fc 2", "network.logits": "logits", "input": "pixels"}
SHOWN |= {"network.pool1": "conv 1", "network.pool2": "conv 2"}


def draw(runs: DataFrame, title: str, file: Path) -> None:
    """Draw the panels side by side, and write a PNG.

    Args:
        runs: Of `load_runs`, with the runs of `PANELS`.
        title: Network and data.
        file: The picture, replaced as a whole.
    """
    with matplotlib.rc_context({"font.size": 11}):
        figure = Figure(figsize=(13, 3.9), layout="constrained", dpi=110)
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(PANELS), sharey=True)
        maps = []
        for axis, ((run, labels, split), heading) in zip(axes, PANELS.items(), strict=True):
            probes = runs[(runs.run == run) & (runs.source == "probes") & (runs.name == "accuracy")]
            chosen = DataFrame(probes[(probes.labels == labels) & (probes.split == split)])
            share = pivot_table(chosen, index="layer", columns="epoch", values="value", sort=False)
            maps.append(_panel(axis, share.mul(100), labels))
            axis.set_title(heading, loc="left", fontsize=12)
        _bar(maps[1], axes[:2], SCALE["true_label"][1])
        _bar(maps[2], axes[2], SCALE["given_label"][1])
        axes[0].set_ylabel("layer")
        figure.suptitle(title, fontsize=12, x=0.01, ha="left", color="0.35")
        with replacing(file) as part:
            canvas.print_png(part)


def _panel(axis: "Axes", accuracy: DataFrame, labels: str) -> "AxesImage":
    """A heat map of one pivot table, in %, with the untrained network set apart."""
    low, high = SCALE[labels]
    accuracy = accuracy.sort_index(axis="columns")
    image = axis.imshow(accuracy, origin="lower", aspect="auto", cmap="cividis", vmin=low, vmax=high)
    for y, x in ((y, x) for y in range(accuracy.shape[0]) for x in range(accuracy.shape[1])):
        number = accuracy.iat[y, x]
        colour = "white" if number < (low + high) / 2 else "black"
        axis.text(x, y, f"{number:.0f}", ha="center", va="center", color=colour)
    axis.axvline(0.5, color="white", linewidth=4)
    axis.set_yticks(range(len(accuracy)), [SHOWN.get(str(layer), str(layer)) for layer in accuracy.index])
    axis.set_xticks(range(accuracy.shape[1]), ["0\nuntrained", *(str(epoch) for epoch in accuracy.columns[1:])])
    axis.set_xlabel("epochs of training")
    return image


def _bar(image: "AxesImage", axes: Any, high: int) -> None:
    """A colour bar on which chance is marked."""
    ticks = [CHANCE, *range(20, high + 1, 10 if high < 100 else 20)]
    bar = image.figure.colorbar(image, ax=axes, ticks=ticks, label="accuracy of a linear probe, %", pad=0.02)
    bar.ax.set_yticklabels([f"{tick} chance" if tick == CHANCE else str(tick) for tick in ticks])


def main(folder: str, picture: str) -> None:
    """Draw the runs of a folder."""
    title = "Small AlexNet at half width, 2,000 training and 10,000 test images of CIFAR-10 (JPEG copies), one run each"
    draw(load_runs(folder), title, Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
