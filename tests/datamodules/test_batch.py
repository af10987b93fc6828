"""Tests of datamodules/batch.py."""

import torch

from stratoscope.datamodules import Batch, labelled


def test_a_clean_set_has_its_true_labels_as_given_ones() -> None:
    """And the positions of its images; labels become int64, the images stay the same object."""
    image = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    data = labelled(image, torch.tensor([2, 0, 1], dtype=torch.int32))
    assert data.image is image
    assert data.given_label.tolist() == data.true_label.tolist() == [2, 0, 1]
    assert {part.dtype for part in data[1:]} == {torch.int64}
    assert data.index.tolist() == [0, 1, 2]


def test_labels_can_be_given_without_changing_the_true_ones() -> None:
    """As a corruption does: the parts are independent, and known by name and by place."""
    data = labelled(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    changed = data._replace(given_label=torch.tensor([1, 1]))
    assert changed.true_label.tolist() == [0, 1]
    assert data.given_label.tolist() == [0, 1]
    assert Batch._fields == (
        "image",
        "given_label",
        "true_label",
        "index",
    )  # for those who unpack it
    image, given_label, *_ = changed
    assert given_label is changed.given_label
    assert image is data.image
