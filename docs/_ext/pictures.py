"""Where the pictures of a page go that are made while the site is built, and the small ones of data."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from stratoscope.datamodules import Augmentation, Corruption, Digits, ImageDataModule, Shapes
from stratoscope.datamodules.augmentation import draws
from stratoscope.datamodules.shapes import NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8  # images in a strip
INCH = 0.62  # of an image
CHANGED = "#D55E00"  # labels that are not the true ones


class Pictures:
    """Pictures of a page.

    Args:
        folder: Where they are written.
        page: The folder of the page, from where they are named.
    """

    def __init__(self, folder: Path, page: Path) -> None:
        self.folder, self.page = folder, page
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, figure: "Figure", says: str) -> str:
        """Write a picture; gives the Markdown that shows it.

        Args:
            name: Of the file, without its ending.
            figure: The picture.
            says: What it shows, for those who cannot see it.
        """
        file = self.folder / f"{name}.png"
        figure.savefig(file, dpi=150)
        return self.show(file, says)

    def show(self, file: Path, says: str) -> str:
        """The Markdown that shows a picture.

        Args:
            file: The picture.
            says: What it shows, for those who cannot see it.
        """
        return f"![{says}]({self.path(file)})"

    def path(self, file: Path) -> str:
        """The path of a file from the page."""
        return Path(os.path.relpath(file, self.page)).as_posix()


def corrupted(corruption: Corruption | None) -> "Figure":
    """The first images of Shapes as a corruption leaves them, with the label that is given to each.

    Args:
        corruption: The corruption; None for the images as they are.
    """
    data = Shapes(train_size=500, test_size=10, normalisation="unit", corruption=corruption, seed=0)
    data.setup()
    found = data.sets["train"].data
    at = {int(index): place for place, index in enumerate(found.index.tolist())}
    images: list[Tensor | None] = []
    labels: list[tuple[str, bool]] = []
    for index in range(SHOWN):
        place = at.get(index)
        images.append(None if place is None else found.image[place].float() / 255)
        given, true = (int(label[place]) if place is not None else 0 for label in (found.given_label, found.true_label))
        labels.append(("" if place is None else NAMES[given], given != true))
    return _strip(images, labels)


def augmented(augmentation: Augmentation) -> "Figure":
    """One image of Shapes as it is, and as an augmentation shows it in seven epochs.

    Args:
        augmentation: The augmentation.
    """
    data = Shapes(train_size=20, test_size=10, normalisation="unit", augmentation=augmentation, seed=0)
    data.setup()
    whole = data.sets["train"]
    first = whole.data.index[1:2]
    images: list[Tensor | None] = [whole.data.image[1].float() / 255]
    for epoch in range(SHOWN - 1):
        images.append(whole.read(first, draws([augmentation], 0, epoch, len(whole))).image[0])
    return _strip(images, [("as it is", False), *((f"epoch {epoch + 1}", False) for epoch in range(SHOWN - 1))])


def sampled(data: ImageDataModule) -> "Figure":
    """The first images of a data set.

    Args:
        data: The data set.
    """
    data.setup()
    found = data.sets["train"].data
    names = NAMES if isinstance(data, Shapes) else [str(label) for label in range(data.classes)]
    images: list[Tensor | None] = [image.float() / 255 for image in found.image[:SHOWN]]
    return _strip(images, [(names[label], False) for label in found.true_label[:SHOWN].tolist()])


def samples() -> dict[str, ImageDataModule]:
    """The data sets that are there without a download, by name."""
    return {"Shapes": Shapes(20, 10), "Digits": Digits()}


def _strip(images: Sequence[Tensor | None], labels: Sequence[tuple[str, bool]]) -> "Figure":
    """Images beside each other with a word below each; a missing one leaves its place empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCH * len(images), INCH + 0.2), facecolor="white")
    FigureCanvasAgg(figure)
    for place, (image, (label, changed)) in enumerate(zip(images, labels, strict=True)):
        axis = figure.add_axes(((place + 0.03) / len(images), 0.24, 0.94 / len(images), 0.75))
        axis.set_axis_off()
        axis.text(
            0.5,
            -0.08,
            label,
            ha="center",
            va="top",
            fontsize=6,
            transform=axis.transAxes,
            color=CHANGED if changed else "black",
        )
        if image is not None:
            axis.imshow(image.permute(1, 2, 0).clamp(0, 1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    return figure
