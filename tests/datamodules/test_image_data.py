"""Tests of datamodules/image_data.py."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.corruption import Corruption, PartialLabels, RandomLabels, ShuffledPixels
from stratoscope.datamodules.digits import Digits
from stratoscope.datamodules.image_data import ImageDataModule, ImageSet, labelled
from stratoscope.datamodules.order import ShuffledBatches
from stratoscope.datamodules.whitening import per_image_whitening
from stratoscope.models import MLP

pytestmark = pytest.mark.filterwarnings("ignore:GPU available but not used")  # the tests run on the CPU everywhere
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


class Generated(ImageDataModule):
    """1,200 training and 1,100 test images of 3x4x4 pixels: more test images than one batch of evaluation."""

    loads = 0

    def load(self) -> tuple[Batch, Batch]:
        """Make the images from a seed of their own."""
        self.loads += 1
        generator = torch.Generator().manual_seed(0)
        sizes = (1200, 1100)
        images = (torch.randint(0, 256, (n, 3, 4, 4), generator=generator).to(torch.uint8) for n in sizes)
        train, test = (labelled(image, torch.arange(len(image)) % 10) for image in images)
        return train, test


class SeenSamples(Callback):
    """Writes down which samples every training batch holds."""

    def __init__(self) -> None:
        self.batches: dict[int, list[list[int]]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write down the batch."""
        self.batches.setdefault(trainer.current_epoch, []).append(batch.index.tolist())


def ready(corruption: Corruption | None = None, batch_size: int = 500, seed: int | None = 0) -> Generated:
    """The generated data after Lightning's two steps."""
    data = Generated(corruption, batch_size, seed)
    data.prepare_data()
    data.setup()
    return data


def equal(one: list[Batch], other: list[Batch]) -> bool:
    """Whether two passes are the same in every bit."""
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def fitted(data: ImageDataModule, **settings: Any) -> tuple[dict[str, Tensor], Trainer]:
    """Weights of a small MLP after two epochs."""
    torch.manual_seed(0)
    model = MLP(depth=1, width=8)
    trainer = Trainer(max_epochs=2, **QUIET, **settings)
    trainer.fit(model, data)
    return dict(model.state_dict()), trainer


def test_batches_carry_images_labels_and_indices() -> None:
    """A training batch holds the whitened images, both labels and the indices of the samples in the order's batch."""
    data = ready(RandomLabels())
    train, _ = RandomLabels()(*Generated().load(), 10)
    batches = list(data.train_dataloader())
    assert [batch.index.tolist() for batch in batches] == list(ShuffledBatches(1200, 500, seed=0))
    for batch in batches:
        assert isinstance(batch, Batch)
        assert torch.equal(batch.image, per_image_whitening(train.image[batch.index]))
        assert torch.equal(batch.given_label, train.given_label[batch.index])
        assert torch.equal(batch.true_label, train.true_label[batch.index])


@pytest.mark.parametrize("name", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_the_test_set_comes_whole_and_in_order(name: str) -> None:
    """Watching, testing and predicting see all test samples in their original order, corrupted like them."""
    batches = list(getattr(ready(ShuffledPixels()), name)())
    _, test = ShuffledPixels()(*Generated().load(), 10)
    assert len(batches) > 1
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(1100))
    assert torch.equal(torch.cat([batch.true_label for batch in batches]), test.true_label)
    assert torch.equal(torch.cat([batch.image for batch in batches]), per_image_whitening(test.image))


def test_one_sample_is_a_batch_without_its_first_axis() -> None:
    """Indexing a set gives the sample that a batch of it holds."""
    data = ImageSet(Generated().load()[0])
    assert len(data) == 1200
    assert all(torch.equal(one, many[1]) for one, many in zip(data[7], data.__getitems__([3, 7]), strict=True))
    assert data[7].image.shape == (3, 4, 4)


def test_iterating_draws_nothing_from_the_global_generator() -> None:
    """All loaders leave torch's random state as it is, so that watching cannot change training."""
    data = ready()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        list(loader)
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_passes_with_the_same_epoch_are_equal() -> None:
    """One loader read twice, another loader, and another data module give the same batches; other seeds do not."""
    data = ready()
    loader = data.train_dataloader()
    first = list(loader)
    assert equal(first, list(loader))
    assert equal(first, list(data.train_dataloader()))
    assert equal(first, list(ready().train_dataloader()))
    assert not equal(first, list(ready(seed=1).train_dataloader()))


def test_the_seed_of_the_run_decides_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a seed of its own the order takes that of `seed_everything`; its own wins; without either it is 0."""

    def order(seed: int | None) -> list[list[int]]:
        return [batch.index.tolist() for batch in ready(seed=seed).train_dataloader()]

    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert order(None) == order(7) == list(ShuffledBatches(1200, 500, seed=7))
    assert order(3) == list(ShuffledBatches(1200, 500, seed=3))
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert order(None) == order(0)


def test_the_corruption_is_drawn_once() -> None:
    """Setting up for a second stage keeps the sets; a process that did not prepare the data has the same."""
    data = ready(PartialLabels(0.5))
    before = list(data.train_dataloader())
    data.setup("test")
    assert equal(before, list(data.train_dataloader()))
    assert data.loads == 1
    other_process = Generated(PartialLabels(0.5), 500, 0)
    other_process.setup()
    assert equal(before, list(other_process.train_dataloader()))


def test_the_summary_counts() -> None:
    """The summary has the numbers of samples and of really changed labels, with thousands separated."""
    train, _ = RandomLabels()(*Generated().load(), 10)
    changed = int((train.given_label != train.true_label).sum())
    assert 1000 < changed < 1200
    assert ready().summary() == (
        "Generated, no corruption: 1,200 training and 1,100 test images, 0 training labels changed (0.0%)"
    )
    assert ready(RandomLabels()).summary() == (
        "Generated, RandomLabels: 1,200 training and 1,100 test images, "
        f"{changed:,} training labels changed ({100 * changed / 1200:.1f}%)"
    )


@pytest.mark.parametrize("batch_size", [0, -5])
def test_a_batch_size_below_1_is_refused(batch_size: int) -> None:
    """The message has the batch size."""
    with pytest.raises(ValueError, match=f"batch_size must be 1 or more, got {batch_size}"):
        Digits(batch_size=batch_size)


def test_a_negative_seed_is_refused() -> None:
    """The message has the seed."""
    with pytest.raises(ValueError, match="seed must be 0 or more, got -2"):
        Digits(seed=-2)


def test_training_is_unchanged_by_validation() -> None:
    """Weights after two epochs are the same bit for bit with validation every epoch, twice an epoch, or never."""
    never, _ = fitted(Digits(seed=0), limit_val_batches=0, num_sanity_val_steps=0)
    every, _ = fitted(Digits(seed=0))
    twice, _ = fitted(Digits(seed=0), val_check_interval=0.5)
    for name, weights in never.items():
        assert torch.equal(weights, every[name]), name
        assert torch.equal(weights, twice[name]), name


def test_training_sees_the_order_of_seed_and_epoch() -> None:
    """Lightning's fit reads every epoch's own order, all samples of it."""
    seen = SeenSamples()
    fitted(Digits(batch_size=500, seed=4), callbacks=[seen])
    batches = ShuffledBatches(1437, 500, seed=4)
    for epoch in range(2):
        batches.set_epoch(epoch)
        assert seen.batches[epoch] == list(batches)
    assert seen.batches.keys() == {0, 1}
    assert seen.batches[0] != seen.batches[1]


def test_several_devices_share_the_batches() -> None:
    """The first of two processes takes its half of every training batch and the first half of the test set."""
    data = ready()
    data.trainer = Trainer(devices=2, strategy="ddp", use_distributed_sampler=False, **QUIET)
    halves = list(ShuffledBatches(1200, 500, seed=0, rank=0, ranks=2))
    assert [batch.index.tolist() for batch in data.train_dataloader()] == halves
    assert torch.cat([batch.index for batch in data.val_dataloader()]).tolist() == list(range(550))


def test_dealing_out_twice_is_refused() -> None:
    """On several devices Lightning's own sampler must be off; the message says how."""
    data = ready()
    data.trainer = Trainer(devices=2, strategy="ddp", **QUIET)
    for loader in (data.train_dataloader, data.val_dataloader):
        with pytest.raises(ValueError, match="use_distributed_sampler=False"):
            loader()
