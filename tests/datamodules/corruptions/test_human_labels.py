"""Tests of datamodules/corruptions/human_labels.py."""

import os
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stratoscope.datamodules.batch import Sets, labelled
from stratoscope.datamodules.corruptions.human_labels import KEYS, Annotation, HumanLabels
from stratoscope.datamodules.corruptions.subset import RandomSubset

N = 60
each_annotation = pytest.mark.parametrize("annotation", KEYS)
RATES = {
    "aggre": 9.01,
    "rand1": 17.23,
    "rand2": 18.12,
    "rand3": 17.64,
    "worse": 40.21,
}  # %, Wei et al. 2022, which has 9.03 for the first


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


def arrays(dtype: str = "int64") -> dict[str, NDArray[Any]]:
    """Labels as in the authors' file, of `generated()`; every annotation errs elsewhere."""
    clean = np.arange(N) * 7 % 10
    human = {
        key: np.where(np.arange(N) % 5 == place, (clean + 1 + place) % 10, clean)
        for place, key in enumerate(KEYS.values())
    }
    return {name: label.astype(dtype) for name, label in {"clean_label": clean, **human}.items()}


def generated() -> Sets:
    """Blank images."""
    return {
        name: labelled(torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.arange(n) * 7 % 10)
        for name, n in (("train", N), ("test", 12))
    }


def stored(folder: Path, kind: str, content: Any = None) -> str:
    """The labels in a file of some kind."""
    content = arrays() if content is None else content
    file = folder / f"labels.{'npz' if kind == 'npz' else 'pt'}"
    if kind == "npz":
        np.savez(file, **content)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "torch")
    if kind == "numpy 1":  # which had its functions elsewhere
        whole = file.read_bytes()
        new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
        assert (new in whole) or (old in whole)
        file.write_bytes(whole.replace(new, old))
    return str(file)


def refused(file: str, annotation: Annotation = "worse") -> str:
    """The message of the ValueError, which is one line and names the file."""
    with pytest.raises(ValueError, match=r".") as caught:
        HumanLabels(file, annotation)(generated(), 10)
    message = str(caught.value)
    assert "\n" not in message
    assert file in message
    return message


@each_annotation
@pytest.mark.parametrize("kind", ["npz", "torch", "torch before 1.6", "numpy 1"])
def test_training_labels_are_those_of_the_file(tmp_path: Path, annotation: Annotation, kind: str) -> None:
    """From either kind of file every training label is the annotation's; everything else stays."""
    sets = generated()
    found = HumanLabels(stored(tmp_path, kind), annotation)(sets, 10)
    assert torch.equal(found["train"].given_label, torch.from_numpy(arrays()[KEYS[annotation]]))
    assert torch.equal(found["train"].true_label, sets["train"].true_label)
    assert found["train"].image is sets["train"].image
    assert found["test"] is sets["test"]
    assert not torch.equal(found["train"].given_label, sets["train"].given_label)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("kind", ["npz", "torch"])
def test_labels_may_have_any_usual_type(tmp_path: Path, dtype: str, kind: str) -> None:
    """They become int64."""
    label = HumanLabels(stored(tmp_path, kind, arrays(dtype)))(generated(), 10)["train"].given_label
    assert torch.equal(label, torch.from_numpy(arrays()["worse_label"]))


def test_after_a_subset_labels_are_looked_up_by_position(tmp_path: Path) -> None:
    """Each sample of a random part has the label it has in the whole."""
    file = stored(tmp_path, "npz")
    part = HumanLabels(file)(RandomSubset(20)(generated(), 10), 10)["train"]
    assert len(part.index) == 20
    assert torch.equal(part.given_label, HumanLabels(file)(generated(), 10)["train"].given_label[part.index])


def test_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    """One clean label that is not the true one is enough; so is a file with fewer labels than images."""
    swapped = arrays()
    swapped["clean_label"][[3, 4]] = swapped["clean_label"][[4, 3]]
    for content in (swapped, {name: label[:-1] for name, label in arrays().items()}):
        assert "labels are of another data set or order" in refused(stored(tmp_path, "npz", content))


@pytest.mark.parametrize("kind", ["torch", "torch before 1.6"])
def test_a_malicious_pickle_is_refused(tmp_path: Path, kind: str) -> None:
    """Nothing in it is run, whether beside the labels or inside them."""
    victim = tmp_path / "victim"
    for content in ({**arrays(), "more": Attack(victim)}, {**arrays(), "worse_label": np.array([Attack(victim)] * N)}):
        assert "cannot be read as arrays alone (ValueError: damaged, or more than arrays" in refused(
            stored(tmp_path, kind, content)
        )
    assert not victim.exists()


def test_a_bare_malicious_pickle_is_refused(tmp_path: Path) -> None:
    """As a pickle under either name, and as an object in an .npz."""
    victim = tmp_path / "victim"
    for name in ("bare.pt", "bare.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Attack(victim)))
        assert "cannot be read as arrays alone" in refused(str(tmp_path / name))
    content = {**arrays(), "worse_label": np.array([Attack(victim)] * N)}
    assert "cannot be read as arrays alone (ValueError: Object arrays" in refused(stored(tmp_path, "npz", content))
    assert not victim.exists()


@pytest.mark.parametrize("kind", ["npz", "torch"])
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Half of a file, and an empty one."""
    file = Path(stored(tmp_path, kind))
    for content in (file.read_bytes()[: file.stat().st_size // 2], b""):
        file.write_bytes(content)
        assert "cannot be read as arrays alone" in refused(str(file))


@pytest.mark.parametrize("kind", ["npz", "torch"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worse_label": np.zeros(N)}, "must be a row of whole numbers, got float64"),
        ({"worse_label": np.zeros((N, 2), dtype=np.int64)}, "must be a row of whole numbers, got int64"),
        ({"worse_label": np.full(N, 10)}, "must be classes from 0 to 9, got 10 to 10"),
        ({"worse_label": np.full(N, -1)}, "must be classes from 0 to 9, got -1 to -1"),
        ({"worse_label": np.zeros(N - 1, dtype=np.int64)}, "has 60 clean and 59 worse labels"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, kind: str, change: dict[str, Any], message: str) -> None:
    """The message says what is wrong; a float64 array in a torch file is not even unpickled."""
    found = refused(stored(tmp_path, kind, {**arrays(), **change}))
    assert message in found or (kind == "torch" and "more than arrays of whole numbers" in found)


def test_a_file_without_the_annotation_is_refused(tmp_path: Path) -> None:
    """The message has the array that is missing; a list in its place, or no dictionary at all, is as good as none."""
    for kind in ("npz", "torch"):
        content = {name: label for name, label in arrays().items() if name != "worse_label"}
        assert "has no array worse_label" in refused(stored(tmp_path, kind, content))
    for other in ({**arrays(), "worse_label": [1, 2]}, [1, 2]):
        assert "has no array" in refused(stored(tmp_path, "torch", other))


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A missing file says where to fetch it, one of another kind what is read."""
    with pytest.raises(FileNotFoundError, match=r"no human labels in .*none.npz: fetch CIFAR-10_human.pt from https"):
        HumanLabels(str(tmp_path / "none.npz"))(generated(), 10)
    file = tmp_path / "labels.csv"
    file.write_text("1\n")
    assert "must be in a file .npz or .pt" in refused(str(file))


def test_unknown_annotations_are_refused() -> None:
    """The message has those there are (run-time type checks are stricter still, and raise a TypeError)."""
    with pytest.raises((ValueError, TypeError), match="worst"):
        HumanLabels("labels.npz", cast(Annotation, "worst"))


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_CIFAR10N" not in os.environ, reason="STRATOSCOPE_TEST_CIFAR10N names no file")
@each_annotation
def test_noise_rates_are_the_papers(annotation: Annotation) -> None:
    """On all 50,000 labels of the real file the share of wrong ones is the published one, but for aggre."""
    file = os.environ["STRATOSCOPE_TEST_CIFAR10N"]
    with np.load(file) as content:
        clean = torch.from_numpy(content["clean_label"]).long()
    blank = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    sets = {"train": labelled(blank.expand(len(clean), -1, -1, -1), clean), "test": labelled(blank, clean[:1])}
    train = HumanLabels(file, annotation)(sets, 10)["train"]
    wrong = (train.given_label != train.true_label).double().mean().item()
    assert len(clean) == 50_000
    assert 100 * wrong == pytest.approx(RATES[annotation], abs=0.005)
