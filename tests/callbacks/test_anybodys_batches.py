"""LinearProbes and OnlineProbes on batches, forwards, labels, samplers and hooks of other people's kinds."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.probes import UnreadableBatch, probe
from stratoscope.probes.reading.batches import read_batch

pytestmark = [
    pytest.mark.usefixtures("no_pictures"),
    pytest.mark.filterwarnings("ignore:.*probes failed", "ignore:.*overfit", "ignore:You requested to overfit"),
]
N, CLASSES = 150, 3
GENERATOR = torch.Generator().manual_seed(0)
LABEL = torch.randint(CLASSES, (N,), generator=GENERATOR)
IMAGE = torch.randn(N, 12, generator=GENERATOR) + nn.functional.one_hot(LABEL, 12)


class Samples(Dataset[Any]):
    """A data set of whatever a function makes of an index."""

    def __init__(self, sample: Any, size: int = N) -> None:
        self.sample, self.size = sample, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        """One sample."""
        return self.sample(index)


class Somebody(LightningModule):
    """A network whose step finds image and label in any batch, and whose forward is what a test says."""

    reading: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, CLASSES)

    def logits(self, image: Tensor) -> Tensor:
        """Two layers."""
        logits: Tensor = self.last(torch.relu(self.first(image)))
        return logits

    def forward(self, x: Tensor) -> Any:
        """Takes the image."""
        return self.logits(x)

    def loss(self, batch: Any) -> Tensor:
        """Cross-entropy of samples with a label."""
        read = read_batch(batch, self.reading)
        return cross_entropy(self.logits(read.image), read.given_label.clamp(min=0))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Trains."""
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Only runs."""
        self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain."""
        return torch.optim.SGD(self.parameters(), 0.1)


class OfBatch(Somebody):
    """Forward takes the batch and gives an output object."""

    def forward(self, batch: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # probes go by its name
        """Takes the batch."""
        return {"loss": None, "logits": self.logits(read_batch(batch).image)}


class OfKeyword(Somebody):
    """Forward takes a keyword only."""

    def forward(self, *, pixel_values: Tensor) -> Any:  # type: ignore[override]
        """Takes a keyword."""
        return self.logits(pixel_values), pixel_values


class Named(Somebody):
    """Its batches hold the image under a name of its own."""

    reading: Any = {"image": "x.a", "label": "label"}  # noqa: RUF012


class Generator(Somebody):
    """Forward makes images of noise; what is probed is another part."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(2, 12)

    def forward(self, z: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """From noise to images."""
        return self.make(z)

    def judge(self, image: Tensor) -> Tensor:
        """A discriminator."""
        return self.logits(image)


def fit(
    folder: Path, kind: type[LightningModule], train: Any, *callbacks: Callback, held_out: Any = None, **options: Any
) -> Trainer:
    """Train a new network from seed 0, quietly."""
    seed_everything(0, verbose=False)
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    options = {"max_epochs": 1, "enable_checkpointing": False, "log_every_n_steps": 1, **quiet, **options}
    trainer = Trainer(accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **options)
    trainer.fit(kind(), train, held_out or DataLoader(TensorDataset(IMAGE[:60], LABEL[:60]), 20))
    return trainer


def loader(sample: Any) -> DataLoader[Any]:
    """Batches of 25 in order."""
    return DataLoader(Samples(sample), 25)


def rows(folder: Path, file: str = "probes.csv") -> list[dict[str, str]]:
    """A table."""
    with (folder / file).open(newline="") as text:
        return list(csv.DictReader(text))


PAIRS = loader(lambda i: (IMAGE[i], LABEL[i]))
FORMS: dict[str, tuple[type[Somebody], Any, dict[str, Any]]] = {
    "dictionary": (Somebody, lambda i: {"image": IMAGE[i], "label": LABEL[i]}, {}),
    "Hugging Face": (OfKeyword, lambda i: {"pixel_values": IMAGE[i], "labels": LABEL[i].int()}, {}),
    "of batch": (OfBatch, lambda i: (IMAGE[i], LABEL[i].to(torch.int8)), {}),
    "index first": (Somebody, lambda i: (i, IMAGE[i], LABEL[i]), {}),
    "two views": (Somebody, lambda i: ([IMAGE[i], IMAGE[i] + 9], LABEL[i : i + 1]), {}),
    "named": (
        Named,
        lambda i: {"x": {"a": IMAGE[i]}, "image": IMAGE[i], "label": LABEL[i]},
        {"batch": {"image": "x.a", "label": "label"}},
    ),
    "generator": (Generator, lambda i: (IMAGE[i], LABEL[i].to(torch.int16)), {"forward": "judge"}),
    "function": (Generator, lambda i: (IMAGE[i], LABEL[i]), {"forward": lambda module, image: module.judge(image)}),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Both tables for pairs of image and label."""
    folder = tmp_path_factory.mktemp("pairs")
    fit(folder, Somebody, PAIRS, LinearProbes("all", epochs=[0]), OnlineProbes("all"))
    return {file: rows(folder, file) for file in ("probes.csv", "online_probes.csv")}


@pytest.mark.parametrize("form", FORMS)
def test_any_batch_and_any_forward_give_the_numbers_of_pairs(
    form: str, tmp_path: Path, expected: dict[str, list[dict[str, str]]]
) -> None:
    """The same samples in another form, the same layers behind another forward: the same tables."""
    kind, sample, options = FORMS[form]
    both = LinearProbes("all", epochs=[0], **options), OnlineProbes("all", **options)
    fit(tmp_path, kind, loader(sample), *both, held_out=DataLoader(Samples(sample, 60), 20))
    assert {file: rows(tmp_path, file) for file in expected} == expected


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda i: (IMAGE[i], LABEL[i].float()), r"float32 \(25,\)\): .*regression"),
        (lambda i: (IMAGE[i], torch.eye(3)[LABEL[i]]), r"labels of shape \(25, 3\) look like several"),
        (lambda i: (IMAGE[i], LABEL[i].expand(4, 4)), r"labels of shape \(25, 4, 4\) .*segmentation"),
        (
            lambda i: {"picture": IMAGE[i], "label": LABEL[i]},
            "got dict with picture: float32 .*say what is what with batch",
        ),
        (lambda i: IMAGE[i], r"got float32 \(25, 12\)"),
    ],
)
@pytest.mark.parametrize("callback", [LinearProbes, OnlineProbes])
def test_what_cannot_be_read_is_refused_before_the_first_step(
    callback: Any, sample: Any, message: str, tmp_path: Path
) -> None:
    """In one line, with nothing trained and nothing written, also where the first probe is due later."""

    class Untrained(Somebody):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise AssertionError("a step was taken")

    options: dict[str, Any] = {"epochs": [1]} if callback is LinearProbes else {}
    message = message.replace("25", "(25|100)")
    with pytest.raises(UnreadableBatch, match=rf"needs batches \(image, label\).*{message}"):
        fit(tmp_path, Untrained, loader(sample), callback(**options), num_sanity_val_steps=0)
    assert not list(tmp_path.iterdir())


def test_an_unreadable_validation_set_is_refused_too(tmp_path: Path) -> None:
    """Before the first step."""
    held_out = loader(lambda i: (IMAGE[i], LABEL[i].float()))
    with pytest.raises(UnreadableBatch, match="regression"):
        fit(tmp_path, Somebody, PAIRS, LinearProbes(), held_out=held_out, num_sanity_val_steps=0)


class Changing(Dataset[Any]):
    """Labels are fine until the data set is told to give others."""

    wrong = False

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        """A sample."""
        return IMAGE[index], LABEL[index].float() if self.wrong else LABEL[index]


class Switch(Callback):
    """Changes a data set after the last batch of an epoch, for the probes that come next."""

    def __init__(self, data: Changing) -> None:
        self.data = data

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In epoch 1 only."""
        self.data.wrong = trainer.current_epoch == 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back."""
        self.data.wrong = False


def test_a_probe_that_fails_later_costs_its_rows_and_not_the_training(tmp_path: Path) -> None:
    """Rows of that epoch say why, those of the next are as ever, and a warning says it once."""
    data, probes = Changing(), LinearProbes("all", ridge=[1e-3, 1e-2])
    with pytest.warns(
        UserWarning, match=r"probes of epoch 1 failed, and training goes on: UnreadableBatch: .*regression"
    ):
        trainer = fit(tmp_path, Somebody, DataLoader(data, 25), Switch(data), probes, max_epochs=2)
    assert trainer.current_epoch == 2
    found = rows(tmp_path)
    keys = [[(r["layer"], r["split"], r["ridge"]) for r in found if r["epoch"] == epoch] for epoch in "012"]
    assert sorted(keys[0]) == sorted(keys[1]) == sorted(keys[2])
    assert {row["failed"][:15] for row in found if row["epoch"] == "1"} == {"UnreadableBatch"}
    assert {row["failed"] for row in found if row["epoch"] != "1"} == {""}


def test_an_online_probe_that_cannot_read_a_batch_costs_its_rows(tmp_path: Path) -> None:
    """A batch in the middle of training whose labels are no classes."""

    def sample(index: int) -> Any:
        return IMAGE[index], torch.eye(3)[LABEL[index]] if 50 <= index < 75 else LABEL[index]

    class Tolerant(Somebody):
        def loss(self, batch: Any) -> Tensor:
            return cross_entropy(self.logits(batch[0]), batch[1])

    with pytest.warns(
        UserWarning, match="online probes leave out what cannot be read, and training goes on: .*several"
    ):
        trainer = fit(tmp_path, Tolerant, loader(sample), OnlineProbes("all"))
    assert trainer.global_step == 6
    assert {row["failed"] for row in rows(tmp_path, "online_probes.csv") if row["split"] == "train"} == {
        "the layer did not run or gave another shape in 1 batches of train"
    }


@pytest.mark.parametrize("kind", [torch.int64, torch.int8])
def test_samples_without_a_label_are_counted_and_left_out(
    kind: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes and measures are what they are of the others alone; and it is said."""
    some = torch.arange(N) % 5 != 0
    label = torch.where(some, LABEL, -1).to(kind)
    measures = ["neighbours", "collapse", "control", "rank"]
    said: list[str] = []
    for module in ("linear_probes", "online_probes"):
        monkeypatch.setattr(f"stratoscope.callbacks.instruments.{module}.rank_zero_info", said.append)
    both = LinearProbes("all", epochs=[0], measures=measures), OnlineProbes("all")
    fit(tmp_path / "some", Somebody, loader(lambda i: (IMAGE[i], label[i])), *both)
    alone = TensorDataset(IMAGE[some], LABEL[some])
    fit(tmp_path / "alone", Somebody, DataLoader(alone, 20), LinearProbes("all", epochs=[0], measures=["collapse"]))
    without, only = rows(tmp_path / "some"), rows(tmp_path / "alone")
    true = [row for row in without if row["labels"] == "true_label"]
    assert {(row["split"], row["count"], row["failed"]) for row in without} == {("train", "120", ""), ("val", "60", "")}
    assert [(row["correct"], row["converged"]) for row in true] == [(row["correct"], "True") for row in only]
    assert [float(row["objective"]) for row in true] == pytest.approx(
        [float(row["objective"]) for row in only], abs=2e-6
    )
    measured = {(row["layer"], row["measure"]): row["value"] for row in rows(tmp_path / "some", "measures.csv")}
    for row in rows(tmp_path / "alone", "measures.csv"):
        if row["value"].startswith("failed"):
            assert measured[row["layer"], row["measure"]] == row["value"]
            continue
        assert float(measured[row["layer"], row["measure"]]) == pytest.approx(float(row["value"]), rel=1e-4)
    line = "30 of 150 training samples have no label (below 0): "
    assert [message for message in said if "below 0" in message] == [
        f"{line}they are left out of what needs one",
        f"{line}left out",
    ]
    counts = {row["count"] for row in rows(tmp_path / "some", "online_probes.csv") if row["split"] == "train"}
    assert counts == {"120"}


def test_given_labels_are_probed_where_no_true_ones_are_known(tmp_path: Path) -> None:
    """A true label of -1 for everything is none; with some, each kind has samples of its own."""
    for known, expected in ((0, {"given_label": "150"}), (40, {"given_label": "150", "true_label": "40"})):
        true = torch.where(torch.arange(N) < known, LABEL, -1)
        data = loader(lambda i, true=true: {"image": IMAGE[i], "label": LABEL[i], "true_label": true[i]})
        fit(tmp_path / str(known), Somebody, data, LinearProbes("first", epochs=[0]))
        found = {row["labels"]: row["count"] for row in rows(tmp_path / str(known)) if row["split"] == "train"}
        assert found == expected


def test_a_thousand_classes(tmp_path: Path) -> None:
    """As many as ImageNet has, in int16."""

    class Wide(Somebody):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(8, 1000)

    label = (torch.arange(2000) % 1000).to(torch.int16)
    image = torch.randn(2000, 12, generator=torch.Generator().manual_seed(1))
    held_out = DataLoader(TensorDataset(image[:50], label[:50]), 25)
    train = DataLoader(TensorDataset(image, label), 500)
    fit(tmp_path, Wide, train, LinearProbes("first", epochs=[0], tolerance=1e-3), held_out=held_out)
    assert [(row["count"], row["failed"]) for row in rows(tmp_path)] == [("2000", ""), ("50", "")]


@pytest.mark.parametrize(
    ("options", "trainer", "count", "which"),
    [
        (
            {"batch_sampler": BatchSampler(SubsetRandomSampler(range(100)), 20, False)},
            {},
            "100",
            "of the train samples those that SubsetRandomSampler gives (100 of 150)",
        ),
        ({"sampler": WeightedRandomSampler([0.0, 1.0] * 75, 150)}, {}, "75", "those that WeightedRandomSampler gives"),
        ({"batch_size": 25}, {"overfit_batches": 2}, "50", "those of the first batches, which every epoch takes (50"),
        ({"batch_size": 25}, {"limit_train_batches": 3}, "75", "which every epoch takes (75 of 150)"),
        ({"batch_size": 25, "shuffle": True}, {"limit_train_batches": 3}, "150", "all 150, though an epoch takes only"),
        ({"batch_size": 25, "shuffle": True}, {}, "150", ""),
    ],
)
def test_probes_read_the_samples_that_are_trained_on(
    options: dict[str, Any],
    trainer: dict[str, Any],
    count: str,
    which: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where that is known; one line says which were read."""
    said: list[str] = []
    monkeypatch.setattr("stratoscope.callbacks.instruments.linear_probes.rank_zero_info", said.append)
    train = DataLoader(TensorDataset(IMAGE, LABEL), **options)
    fit(tmp_path, Somebody, train, LinearProbes("input", epochs=[0]), **trainer)
    assert {row["count"] for row in rows(tmp_path) if row["split"] == "train"} == {count}
    assert which in said[0]
    assert ("train samples" in said[0]) == bool(which)


class Augmenting(Somebody):
    """Changes images on the device while the trainer says that it trains, as kornia's and torchgeo's modules do."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Noise in training, a shift always."""
        image, label = batch
        return image + 5 + (100 * torch.randn_like(image) if self.trainer.training else 0), label


def test_samples_are_read_as_validated(tmp_path: Path) -> None:
    """Neither test nor training images are augmented, what holds for all is done, and the trainer trains on."""

    class Stages(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert trainer.training

    fit(tmp_path / "hook", Augmenting, PAIRS, LinearProbes("input"), Stages())
    shifted = loader(lambda i: (IMAGE[i] + 5, LABEL[i]))
    held_out = DataLoader(TensorDataset(IMAGE[:60] + 5, LABEL[:60]), 20)
    fit(tmp_path / "shifted", Somebody, shifted, LinearProbes("input"), held_out=held_out)
    assert rows(tmp_path / "hook") == rows(tmp_path / "shifted")


class Named2(TensorDataset):
    """A data set with a name that somebody gave it."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(IMAGE[:size], LABEL[:size])
        self.name = name


def test_equal_names_and_ours_are_made_distinct(tmp_path: Path) -> None:
    """In both tables, in the order of the loaders."""
    sets = [DataLoader(Named2(name, 20 + 10 * i), 20) for i, name in enumerate(("test", "test", "train", "held_out"))]
    sets.append(DataLoader(TensorDataset(IMAGE[:70], LABEL[:70]), 20))
    fit(tmp_path, Somebody, PAIRS, LinearProbes("input", epochs=[0], held_out=10), OnlineProbes("input"), held_out=sets)
    names = {"test": "20", "test#2": "30", "train#2": "40", "held_out#2": "50", "val": "70"}
    linear = {row["split"]: row["count"] for row in rows(tmp_path)}
    assert linear == {"held_out": "10", "train": "140", **names}
    online = {row["split"]: row["count"] for row in rows(tmp_path, "online_probes.csv")}
    assert online == {"train": "150", **names}


class Stream(IterableDataset[Any]):
    """A stream of samples."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(IMAGE, LABEL, strict=True)


def test_a_stream_is_refused_by_one_and_read_by_the_other(tmp_path: Path) -> None:
    """LinearProbes needs an index, and says so; OnlineProbes reads what trains."""
    stream = DataLoader(Stream(), 25)
    with pytest.raises(TypeError, match=r"got DataLoader of Stream: .* use OnlineProbes"):
        fit(tmp_path, Somebody, stream, LinearProbes())
    fit(tmp_path, Somebody, stream, OnlineProbes("all"))
    assert {row["count"] for row in rows(tmp_path, "online_probes.csv")} == {"150", "60"}


def test_of_several_training_loaders_the_labelled_one_is_taken(tmp_path: Path) -> None:
    """Of an unlabelled one nothing is read; two with labels are refused, unless batch fits one only."""

    class Both(Somebody):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.loss(batch["labelled"])

    unlabelled = DataLoader(Samples(lambda i: IMAGE[i]), 25)
    fit(tmp_path, Both, {"more": unlabelled, "labelled": PAIRS}, LinearProbes("input", epochs=[0]))
    assert {row["count"] for row in rows(tmp_path) if row["split"] == "train"} == {"150"}
    with pytest.raises(ValueError, match="got 2 loaders, 2 of them with labels: give batch"):
        fit(tmp_path, Both, {"more": PAIRS, "labelled": PAIRS}, LinearProbes("input", epochs=[0]))


def test_training_is_unchanged_where_forward_is_tried(tmp_path: Path) -> None:
    """Weights and random numbers are those of a run without probes, whatever had to be tried."""
    ends = []
    for callbacks in ((), (LinearProbes("all"), OnlineProbes("all"))):
        train = DataLoader(Samples(FORMS["of batch"][1]), 25, shuffle=True)
        trainer = fit(tmp_path, OfBatch, train, *callbacks, max_epochs=2)
        ends.append([*trainer.lightning_module.state_dict().values(), torch.rand(1)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_yaml_says_what_a_batch_consists_of() -> None:
    """Names, places, a method; what means nothing is refused."""
    parser = ArgumentParser()
    parser.add_subclass_arguments((LinearProbes, OnlineProbes), "probes")
    for text, reading in (
        ("{image: pixel_values, label: labels}", {"image": "pixel_values", "label": "labels"}),
        ("{image: 1, label: 2, true_label: 3}", {"image": 1, "label": 2, "true_label": 3}),
    ):
        for kind in ("LinearProbes", "OnlineProbes"):
            whole = f"{{class_path: stratoscope.callbacks.{kind}, init_args: {{batch: {text}, forward: encode}}}}"
            made = parser.instantiate_classes(parser.parse_args([f"--probes={whole}"]))["probes"]
            assert (made.batch, made.forward) == (reading, "encode")
    with pytest.raises(ValueError, match="batch must say where image and label"):
        LinearProbes(batch={"image": 0})


def test_probe_takes_the_same_forms() -> None:
    """Without Lightning: the same numbers for a dictionary behind a method, with -1 left out."""
    seed_everything(0, verbose=False)
    module = Somebody()
    label = torch.where(torch.arange(N) < 20, -1, LABEL)
    found = probe(
        module, {"train": [{"a": IMAGE, "b": label}]}, "first", batch={"image": "a", "label": "b"}, forward="logits"
    )
    alone = probe(module, {"train": [(IMAGE[20:], LABEL[20:].to(torch.int8))]}, "first", forward="logits")
    assert [(row.correct, row.count) for row in found["first"]] == [(row.correct, 130) for row in alone["first"]]


class Kept(OnlineProbes):
    """Probes whose every process leaves its table."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the rows."""
        torch.save(self.table.rows, Path(trainer.default_root_dir) / f"{trainer.global_rank}.pt")


def test_two_processes_count_every_sample_once(tmp_path: Path) -> None:
    """65 test samples, dealt out as 33 and 32 of them and one again, are 65; and so for those that train."""
    train = DataLoader(TensorDataset(IMAGE[:141], LABEL[:141]), 16, shuffle=True)
    held_out = DataLoader(TensorDataset(IMAGE[:65], LABEL[:65]), 10)
    fit(tmp_path, Somebody, train, Kept("all"), held_out=held_out, devices=2, strategy="ddp_fork")
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert {(row["split"], row["count"], row["failed"]) for row in found} == {("train", 141, ""), ("val", 65, "")}
