"""Tests of docs/_ext/pictures.py."""

from pathlib import Path

import numpy as np

from docs._ext.pictures import CHANGED, SHOWN, Pictures, augmented, corrupted
from stratoscope.datamodules import RandomFlip, RandomLabels, RandomSubset


def test_changed_labels_are_marked_and_lost_images_leave_a_place() -> None:
    """Random labels are in another colour where they differ; of a subset only what is left is shown."""
    as_they_are, random, subset = (corrupted(one) for one in (None, RandomLabels(0), RandomSubset(250, seed=0)))
    labels = [[axis.texts[0].get_text() for axis in figure.axes] for figure in (as_they_are, random, subset)]
    colours = [axis.texts[0].get_color() for axis in random.axes]
    assert colours == [CHANGED if a != b else "black" for a, b in zip(*labels[:2], strict=True)]
    assert CHANGED in colours
    assert 0 < labels[2].count("") < SHOWN
    assert [bool(axis.images) for axis in subset.axes] == [bool(label) for label in labels[2]]


def test_an_augmentation_changes_the_image_from_epoch_to_epoch(tmp_path: Path) -> None:
    """A flip leaves it, or mirrors it; the picture is written where the page finds it."""
    figure = augmented(RandomFlip(0.5))
    first, *others = (np.asarray(axis.images[0].get_array()) for axis in figure.axes)
    assert {np.array_equal(first, other) for other in others} == {True, False}
    assert all(np.array_equal(first, other) or np.array_equal(first[:, ::-1], other) for other in others)
    shown = Pictures(tmp_path / "made", tmp_path / "pages").put("flip", figure, "a flip")
    assert shown == "![a flip](../made/flip.png)"
    assert (tmp_path / "made" / "flip.png").stat().st_size > 1000
