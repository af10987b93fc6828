"""Tests of probes/reading/batches.py."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stratoscope.datamodules import Batch
from stratoscope.probes.reading.batches import UnreadableBatch, read_batch

IMAGE = torch.arange(5 * 3 * 4 * 4.0).view(5, 3, 4, 4)
OTHER = IMAGE + 1000
LABEL = torch.tensor([0, 2, 1, 2, 0])
INDEX = torch.tensor([10, 11, 12, 13, 14])
IDS = torch.randint(100, (5, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(5, 7, dtype=torch.long)
Renamed = namedtuple("Renamed", "pixels answer")
Named = namedtuple("Named", "idx target x")


@dataclass
class Data:
    """A batch as a data class."""

    images: Tensor
    targets: Tensor


@pytest.mark.parametrize(
    ("batch", "how"),
    [
        ((IMAGE, LABEL), "(image, label)"),
        ([IMAGE, LABEL, INDEX], "(image, label)"),
        ((IMAGE, LABEL, ["a.png"] * 5), "(image, label)"),
        ((INDEX, IMAGE, LABEL), "(index, image, label)"),
        ([[IMAGE, OTHER], LABEL], "(image, label); of 2 views the first"),
        (((IMAGE, OTHER, OTHER), LABEL), "(image, label); of 3 views the first"),
        ((IMAGE, OTHER, LABEL), "(image, image, label); of 2 views the first"),
        ({"image": IMAGE, "label": LABEL}, "image and label"),
        ({"pixel_values": IMAGE, "labels": LABEL}, "pixel_values and labels"),
        (UserDict({"x": IMAGE, "y": LABEL}), "x and y"),
        ({"input": [IMAGE, OTHER], "target": LABEL}, "input and target; of 2 views the first"),
        (Data(IMAGE, LABEL), "images and targets"),
        (SimpleNamespace(x=IMAGE, y=LABEL, ptr=INDEX), "x and y"),
        (Named(INDEX, LABEL, IMAGE), "x and target"),
        (Renamed(IMAGE, LABEL), "(image, label)"),
        ((IMAGE.numpy(), LABEL.tolist()), "(image, label)"),
    ],
)
def test_what_people_give_is_understood(batch: Any, how: str) -> None:
    """Places, names, views: the image and one kind of labels."""
    found = read_batch(batch)
    assert torch.equal(found.image, IMAGE)
    assert torch.equal(found.given_label, LABEL)
    assert found.true_label is found.given_label
    assert found.how == how


def test_given_and_true_labels_are_told_apart() -> None:
    """In our batches, and in a dictionary that names both."""
    true = LABEL.flip(0)
    for batch in (Batch(IMAGE, LABEL, true, INDEX), {"image": IMAGE, "label": LABEL, "true_label": true}):
        found = read_batch(batch)
        assert torch.equal(found.given_label, LABEL)
        assert torch.equal(found.true_label, true)


@pytest.mark.parametrize(
    ("batch", "reading"),
    [
        ({"foo": IMAGE, "bar": LABEL}, {"image": "foo", "label": "bar"}),
        ((INDEX, IMAGE, LABEL), {"image": 1, "label": 2}),
        ((IMAGE, LABEL, INDEX), {"image": 0, "label": -2}),
        ({"a": {"b": [OTHER, IMAGE]}, "t": (LABEL, INDEX)}, {"image": "a.b.1", "label": "t.0"}),
        ({"a.b": IMAGE, 7: LABEL}, {"image": "a.b", "label": 7}),
        (Renamed(LABEL, IMAGE), {"image": "answer", "label": "pixels"}),
        ((LABEL, IMAGE), lambda batch: (batch[1], batch[0])),
        ((LABEL, IMAGE), lambda batch: {"image": batch[1], "label": batch[0]}),
    ],
)
def test_what_is_asked_for_is_taken(batch: Any, reading: Any) -> None:
    """Names, numbers, paths and functions."""
    found = read_batch(batch, reading)
    assert torch.equal(found.image, IMAGE)
    assert torch.equal(found.given_label, LABEL)


def test_a_true_label_can_be_asked_for() -> None:
    """By name, and as the third of what a function returns."""
    for reading in ({"image": 0, "label": 1, "true_label": 2}, lambda batch: batch):
        assert torch.equal(read_batch((IMAGE, LABEL, INDEX), reading).true_label, INDEX)


@pytest.mark.parametrize(
    "label",
    [LABEL.to(kind) for kind in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.uint16)]
    + [LABEL[:, None], LABEL[:, None].int(), LABEL.numpy(), tuple(LABEL.tolist())],
)
def test_whole_numbers_of_any_form_are_labels(label: Any) -> None:
    """Any width, a column, an array or plain numbers become int64 (n)."""
    found = read_batch((IMAGE, label)).given_label
    assert found.dtype == torch.int64
    assert torch.equal(found, LABEL)


def test_truth_values_are_two_classes_and_minus_one_stays() -> None:
    """A label of True is class 1, one below 0 is nobody's."""
    assert read_batch((IMAGE, LABEL > 0)).given_label.tolist() == [0, 1, 1, 1, 0]
    assert read_batch((IMAGE, LABEL.to(torch.int8) - 1)).given_label.tolist() == [-1, 1, 0, 1, -1]


def test_token_ids_come_with_their_mask() -> None:
    """As a mapping where there is more than ids."""
    whole = {"input_ids": IDS, "attention_mask": MASK, "labels": LABEL, "text": ["a"] * 5}
    found = read_batch(whole)
    assert {*found.image} == {"input_ids", "attention_mask"}
    assert found.rows is IDS
    alone = read_batch({"input_ids": IDS, "label": LABEL})
    assert torch.equal(alone.image, IDS)
    assert read_batch(({"input_ids": IDS, "attention_mask": MASK}, LABEL)).image.keys() == found.image.keys()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            (IMAGE, LABEL.float()),
            r"got tuple of \(float32 \(5, 3, 4, 4\), float32 \(5,\)\): .*regression.*label.long\(\)",
        ),
        ((IMAGE, torch.eye(3)[LABEL]), r"labels of shape \(5, 3\) look like several .*label.argmax\(1\)"),
        ((IMAGE, torch.ones(5, 4, 4, dtype=torch.long)), r"labels of shape \(5, 4, 4\) .*segmentation"),
        ((IMAGE, torch.tensor(3)), "are one for all samples"),
        ((IMAGE, LABEL[:4]), r"there are 4 labels for an image of float32 \(5, 3, 4, 4\)"),
        ((IMAGE, ["cat"] * 5), "the label is list of 5 str"),
        ((IMAGE, [{"boxes": LABEL}] * 5), r"got tuple of \(float32 .*, list of .*the label is list of .*dict"),
        ((LABEL, IMAGE), "the first part looks like a label or an index, the second like the image; say what is what"),
        ([IMAGE], "there is no label"),
        (IMAGE, r"got float32 \(5, 3, 4, 4\): say what is what with batch"),
        ({"image": IMAGE}, "got dict with image: .*there is no part called label, labels, y"),
        ({"picture": IMAGE, "label": LABEL}, "there is no part called image, images"),
        ({"image": IMAGE, "label": LABEL, "target": INDEX}, "any of label, target may be the label"),
        ({"image": IMAGE, "x": OTHER, "y": LABEL}, "any of image, x may be the image"),
        ((["a.png"] * 5, LABEL), "the image is list of 5 str, no tensor"),
        (None, "got NoneType"),
    ],
)
def test_what_is_not_clear_is_refused(batch: Any, message: str) -> None:
    """In one line, with what was got and what would be right."""
    with pytest.raises(UnreadableBatch, match=rf"^Reader needs batches \(image, label\).*{message}") as refused:
        read_batch(batch, reader="Reader")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"image": "pixels", "label": "label"}, "it has no part pixels, which batch asks for"),
        ({"image": "image.0.1", "label": "label"}, "it has no part image.0.1"),
        (lambda batch: batch["image"], r"must return \(image, label\), not float32 \(5, 3, 4, 4\)"),
    ],
)
def test_what_is_asked_for_and_not_there_is_refused(reading: Any, message: str) -> None:
    """With the parts that are there."""
    with pytest.raises(UnreadableBatch, match=f"got dict with image: float32 .*label: int64 .*{message}"):
        read_batch({"image": IMAGE, "label": LABEL}, reading)


def test_names_that_mean_nothing_are_refused() -> None:
    """A reading says where image and label are, and true_label, and no more."""
    for reading in ({"image": 0}, {"image": 0, "label": 1, "index": 2}):
        with pytest.raises(ValueError, match="batch must say where image and label"):
            read_batch((IMAGE, LABEL), reading)


def test_objects_that_hold_themselves_are_read() -> None:
    """A batch may know its parent."""
    batch = SimpleNamespace(x=IMAGE, y=LABEL)
    batch.parent = batch
    assert torch.equal(read_batch(batch).image, IMAGE)


@pytest.mark.parametrize(
    "reading", [lambda batch: {"image": batch["image"], "label": batch["lable"]}, lambda batch: 1 // 0, lambda: None]
)
def test_what_a_function_raises_is_said(reading: Any) -> None:
    """In the one line, and with the user's own traceback behind it."""
    with pytest.raises(UnreadableBatch, match=r"the function given as batch raised (Key|ZeroDivision|Type)Error: "):
        read_batch({"image": IMAGE, "label": LABEL}, reading)
    with pytest.raises(UnreadableBatch) as refused:
        read_batch({"image": IMAGE, "label": LABEL}, reading)
    assert isinstance(refused.value.__cause__, (KeyError, ZeroDivisionError, TypeError))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((IMAGE, np.array(["a", 1, 2, 0, 1], dtype=object)), r"the label is array object \(5,\), of which no tensor"),
        ((IMAGE, np.array(["cat"] * 5)), r"the label is array <U3 \(5,\), of which no tensor .*TypeError"),
        ((IMAGE, [2**70] * 5), "the label is list of 5 int, of which no tensor"),
        ((np.array([None] * 5), LABEL), r"the image is array object \(5,\), of which no tensor"),
    ],
)
def test_arrays_that_are_no_tensors_are_refused(batch: Any, message: str) -> None:
    """Whatever it is that PyTorch cannot read."""
    with pytest.raises(UnreadableBatch, match=message) as refused:
        read_batch(batch)
    assert "\n" not in str(refused.value)
