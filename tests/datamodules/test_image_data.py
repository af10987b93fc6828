"""Tests of datamodules/image_data.py."""

import hashlib
from typing import Any, get_args

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader

from stratoscope.datamodules import Corruption, GaussianPixels, RandomPixels, ShuffledPixels
from stratoscope.datamodules.augmentation import ColourJitter, RandomCrop, RandomFlip, draws
from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.corruptions.automatic_labels import ColourLabels, LinearLabels
from stratoscope.datamodules.corruptions.label_noise import AsymmetricLabels, PartialLabels, RandomLabels
from stratoscope.datamodules.corruptions.subset import RandomSubset
from stratoscope.datamodules.digits import Digits
from stratoscope.datamodules.image_data import ImageDataModule, ImageLoader, ImageSet
from stratoscope.datamodules.normalisation import Name, normalisation, per_image_whitening
from stratoscope.datamodules.order import ShuffledBatches
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

    def load(self) -> Sets:
        """Make the images from a seed of their own."""
        self.loads += 1
        generator = torch.Generator().manual_seed(0)
        sizes = {"train": 1200, "test": 1100}
        images = {name: torch.randint(0, 256, (n, 3, 4, 4), generator=generator) for name, n in sizes.items()}
        return {name: labelled(image.to(torch.uint8), torch.arange(len(image)) % 10) for name, image in images.items()}


class WithOthers(Generated):
    """The same with two further test sets: `other` of 700 images, `few` of 30."""

    def load(self) -> Sets:
        """Take the first test images, turned upside down, and the last, mirrored."""
        sets = super().load()
        image, label, *_ = sets["test"]
        return {
            **sets,
            "other": labelled(image[:700].flip(2), label[:700]),
            "few": labelled(image[-30:].flip(3), label[-30:]),
        }


class DigitsAndOthers(Digits):
    """Digits with the test set a second time, upside down, and 100 of its images mirrored."""

    def load(self) -> Sets:
        """Add the sets."""
        sets = super().load()
        image, label, *_ = sets["test"]
        return {**sets, "other": labelled(image.flip(2), label), "few": labelled(image[:100].flip(3), label[:100])}


class SeenSamples(Callback):
    """Writes down which samples every training batch holds."""

    def __init__(self) -> None:
        self.batches: dict[int, list[list[int]]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write down the batch."""
        self.batches.setdefault(trainer.current_epoch, []).append(batch.index.tolist())


def ready(
    corruption: Corruption | list[Corruption] | None = None,
    batch_size: int = 500,
    seed: int | None = 0,
    kind: type[Generated] = Generated,
    **settings: Any,
) -> Generated:
    """The generated data after Lightning's two steps."""
    data = kind(corruption=corruption, batch_size=batch_size, seed=seed, **settings)
    data.prepare_data()
    data.setup()
    return data


def on_rank(data: Generated, rank: int, ranks: int) -> Generated:
    """The same data on one of several processes."""
    data.trainer = Trainer(devices=ranks, strategy="ddp", use_distributed_sampler=False, **QUIET)
    environment: Any = data.trainer.strategy
    environment.cluster_environment.set_global_rank(rank)
    return data


def only(loaders: ImageLoader | list[ImageLoader]) -> ImageLoader:
    """The loader of a data module with one test set."""
    assert isinstance(loaders, ImageLoader)
    return loaders


def order(seed: int, epoch: int = 0, size: int = 1200, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """The samples of the batches of an epoch."""
    batches = ShuffledBatches(size, 500, seed, rank, ranks)
    batches.set_epoch(epoch)
    return [batch.tolist() for batch in batches]


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
    train = RandomLabels()(Generated().load(), 10)["train"]
    batches = list(data.train_dataloader())
    assert [batch.index.tolist() for batch in batches] == order(0)
    for batch in batches:
        assert isinstance(batch, Batch)
        assert torch.equal(batch.image, per_image_whitening(train.image[batch.index]))
        assert torch.equal(batch.given_label, train.given_label[batch.index])
        assert torch.equal(batch.true_label, train.true_label[batch.index])


@pytest.mark.parametrize("name", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_the_test_set_comes_whole_and_in_order(name: str) -> None:
    """Watching, testing and predicting see all test samples in their original order, corrupted like them."""
    batches = list(getattr(ready(ShuffledPixels()), name)())
    test = ShuffledPixels()(Generated().load(), 10)["test"]
    assert len(batches) > 1
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(1100))
    assert torch.equal(torch.cat([batch.true_label for batch in batches]), test.true_label)
    assert torch.equal(torch.cat([batch.image for batch in batches]), per_image_whitening(test.image))


def test_one_sample_is_a_batch_without_its_first_axis() -> None:
    """Indexing a set gives the sample that a batch of it holds."""
    data = ImageSet(Generated().load()["train"])
    assert len(data) == 1200
    assert all(torch.equal(one, many[1]) for one, many in zip(data[7], data.__getitems__([3, 7]), strict=True))
    assert data[7].image.shape == (3, 4, 4)


def test_iterating_draws_nothing_from_the_global_generator() -> None:
    """All loaders leave torch's random state as it is, so that watching cannot change training."""
    data = ready(augmentation=[RandomCrop(3), ColourJitter()])
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        for _ in range(2):
            assert len(list(loader)) > 1
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
    """Order and augmentation take the seed of `seed_everything`; their own wins; without either it is 0."""

    def read(seed: int | None) -> list[Batch]:
        return list(ready(seed=seed, augmentation=RandomCrop(3)).train_dataloader())

    def samples(batches: list[Batch]) -> list[list[int]]:
        return [batch.index.tolist() for batch in batches]

    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert samples(read(None)) == order(7)
    assert equal(read(None), read(7))
    assert samples(read(3)) == order(3)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert equal(read(None), read(0))


def test_the_corruption_is_drawn_once() -> None:
    """Setting up for a second stage keeps the sets; a process that did not prepare the data has the same."""
    data = ready(PartialLabels(0.5))
    before = list(data.train_dataloader())
    data.setup("test")
    assert equal(before, list(data.train_dataloader()))
    assert data.loads == 1
    other_process = Generated(corruption=PartialLabels(0.5), batch_size=500, seed=0)
    other_process.setup()
    assert equal(before, list(other_process.train_dataloader()))


def test_corruptions_are_applied_in_their_order() -> None:
    """A list does what its entries do one after the other, and in another order something else; one alone is a list."""
    steps: list[Corruption] = [RandomSubset(900), PartialLabels(0.5), ShuffledPixels()]
    expected = Generated().load()
    for step in steps:
        expected = step(expected, 10)
    data = ready(steps)
    assert list(data.sets) == list(expected)
    assert equal([data.sets[name].data for name in expected], list(expected.values()))
    assert ready(steps[::-1]).content_hashes()["train"] != data.content_hashes()["train"]
    assert ready(RandomLabels()).content_hashes() == ready([RandomLabels()]).content_hashes()
    assert ready([]).content_hashes() == ready().content_hashes()


def test_a_part_of_the_training_set_keeps_its_positions() -> None:
    """Of a subset every sample comes once an epoch, with its position in the original set."""
    data = ready(RandomSubset(700))
    chosen = RandomSubset(700)(Generated().load(), 10)["train"].index
    read = torch.cat([batch.index for batch in data.train_dataloader()])
    assert torch.equal(read.sort().values, chosen)
    assert read.tolist() == [int(chosen[place]) for batch in order(0, size=700) for place in batch]


@pytest.mark.parametrize("name", get_args(Name))
def test_all_sets_are_normalised_alike(name: Name) -> None:
    """Every set is normalised by name, where need be with the statistics of the corrupted training images."""
    corruption = [RandomSubset(300), GaussianPixels()]
    data = ready(corruption, kind=WithOthers, normalisation=name)
    normalise = normalisation(name, data.sets["train"].data.image)
    for part in data.sets.values():
        read = part.__getitems__([0, 5, 29])
        assert torch.equal(read.image, normalise(part.data.image[[0, 5, 29]]))
    whole = torch.cat([batch.image for batch in data.train_dataloader()]).double()
    if name == "per_channel":
        deviation, mean = torch.std_mean(whole, dim=(0, 2, 3), correction=0)
        assert_close(mean, torch.zeros(3).double(), rtol=0, atol=1e-5)
        assert_close(deviation, torch.ones(3).double(), rtol=0, atol=1e-5)


def test_batches_are_those_of_a_plain_loader_at_rest() -> None:
    """Evaluation batches are `__getitems__` of their samples, as a loader of torch would make them."""
    data = ready(kind=WithOthers, augmentation=[RandomCrop(3), RandomFlip(), ColourJitter()])
    loaders = data.test_dataloader()
    assert isinstance(loaders, list)
    for loader, part in zip(loaders, ("test", "other", "few"), strict=True):
        batches = list(loader)
        assert equal(batches, [data.sets[part].__getitems__(batch.index) for batch in batches])
        indices = [batch.index.tolist() for batch in batches]
        plain: DataLoader[Batch] = DataLoader(data.sets[part], batch_sampler=indices, collate_fn=lambda batch: batch)
        assert equal(batches, list(plain))
    assert loaders[0].data.data.image.shape[2:] == (4, 4)
    assert next(iter(loaders[0])).image.shape == (500, 3, 3, 3)


def test_without_augmentation_training_batches_are_at_rest() -> None:
    """A training batch is `__getitems__` of its samples."""
    data = ready()
    batches = list(data.train_dataloader())
    assert equal(batches, [data.sets["train"].__getitems__(batch.index) for batch in batches])


def test_augmentation_comes_before_normalisation() -> None:
    """A training batch is normalised after its pixels were changed on their own scale, by the epoch's draws."""
    augmentations = [RandomFlip(), RandomCrop(3)]
    data = ready(GaussianPixels(), augmentation=augmentations, normalisation="per_channel")
    loader = data.train_dataloader()
    for epoch in (0, 2):
        assert isinstance(loader.batch_sampler, ShuffledBatches)
        loader.batch_sampler.set_epoch(epoch)
        flips, crops = draws(list(augmentations), 0, epoch, 1200)
        image = augmentations[1](augmentations[0](data.sets["train"].data.image, flips), crops)
        for batch, indices in zip(loader, order(0, epoch), strict=True):
            assert torch.equal(batch.image, data.sets["train"].normalise(image[indices]))


def test_the_summary_counts_labels() -> None:
    """The summary has the numbers of samples and of really changed labels, with thousands separated."""
    train = RandomLabels()(Generated().load(), 10)["train"]
    changed = int((train.given_label != train.true_label).sum())
    assert 1000 < changed < 1200
    assert ready().summary() == (
        "Generated, no corruption: 1,200 training, 1,100 test images; changed: 0 training labels (0.0%)"
    )
    assert ready(RandomLabels()).summary() == (
        "Generated, RandomLabels: 1,200 training, 1,100 test images; "
        f"changed: {changed:,} training labels ({100 * changed / 1200:.1f}%)"
    )


def test_the_summary_counts_pixels() -> None:
    """A pixel is changed if any of its colours is; each set has its share."""
    before, after = Generated().load(), RandomPixels()(Generated().load(), 10)
    shares = {
        name: 100 * np.mean((before[name].image.numpy() != after[name].image.numpy()).any(axis=1)) for name in before
    }
    assert 90 < min(shares.values()) < 97  # one in 16 keeps its place
    assert ready(RandomPixels()).summary() == (
        "Generated, RandomPixels: 1,200 training, 1,100 test images; changed: 0 training labels (0.0%), "
        f"{shares['train']:.1f}% of the training pixels, {shares['test']:.1f}% of the test pixels"
    )


def test_the_summary_of_a_subset_counts_what_is_left() -> None:
    """Samples left out are not changes; labels and pixels are compared with those of the same samples."""
    train = RandomSubset(400)(PartialLabels(0.5)(Generated().load(), 10), 10)["train"]
    changed = int((train.given_label != train.true_label).sum())
    assert 100 < changed < 300
    assert ready(RandomSubset(400)).summary() == (
        "Generated, RandomSubset: 400 training, 1,100 test images; changed: 0 training labels (0.0%)"
    )
    assert ready([PartialLabels(0.5), RandomSubset(400)]).summary() == (
        "Generated, PartialLabels, RandomSubset: 400 training, 1,100 test images; "
        f"changed: {changed} training labels ({changed / 4:.1f}%)"
    )


def test_the_summary_names_further_test_sets() -> None:
    """Every set has its size and its share of changed pixels."""
    assert ready(kind=WithOthers).summary() == (
        "WithOthers, no corruption: 1,200 training, 1,100 test, 700 other, 30 few images; "
        "changed: 0 training labels (0.0%)"
    )
    assert ready(GaussianPixels(), kind=WithOthers).summary().count("% of the ") == 4


def test_the_hash_is_that_of_the_content() -> None:
    """SHA-256 of dtype and shape, images, given and true labels, as they lie in memory, one for every set."""
    data = ready([PartialLabels(0.5), GaussianPixels()], kind=WithOthers)
    assert list(data.content_hashes()) == ["train", "test", "other", "few"]
    for name, n in (("train", 1200), ("few", 30)):
        image, given, true, _ = data.sets[name].data
        content = f"torch.float16 ({n}, 3, 4, 4)".encode() + image.numpy().tobytes()
        content += given.numpy().tobytes() + true.numpy().tobytes()
        assert data.content_hashes()[name] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("part", ["image", "given_label", "true_label"])
@pytest.mark.parametrize("name", ["train", "test"])
def test_the_hash_changes_with_a_single_value(name: str, part: str) -> None:
    """One pixel, given or true label more or less changes the hash of its set, and of no other."""
    data, before = ready(), ready().content_hashes()
    assert data.content_hashes() == before
    getattr(data.sets[name].data, part)[-1] += 1
    after = data.content_hashes()
    assert after.pop(name) != before.pop(name)
    assert after == before


def test_the_hash_is_of_the_data_alone() -> None:
    """Batch size, order, augmentation, normalisation and reading do not change it; the corruption's seed does."""
    before = ready(RandomLabels()).content_hashes()
    other = ready(RandomLabels(), 7, 3, augmentation=RandomCrop(3), normalisation="unit")
    next(iter(other.train_dataloader()))
    assert other.content_hashes() == before
    assert ready(RandomLabels(seed=1)).content_hashes()["train"] != before["train"]
    assert ready(RandomLabels(seed=1)).content_hashes()["test"] == before["test"]


def test_further_test_sets_come_in_a_list() -> None:
    """Watching and testing see all test sets, each whole and in order; predicting the first; training none of them."""
    data = ready(kind=WithOthers)
    for loaders in (data.val_dataloader(), data.test_dataloader()):
        assert isinstance(loaders, list)
        assert [loader.data.name for loader in loaders] == ["test", "other", "few"]
        for loader, size in zip(loaders, (1100, 700, 30), strict=True):
            assert torch.equal(torch.cat([batch.index for batch in loader]), torch.arange(size))
    assert data.predict_dataloader().data.name == "test"
    assert equal(list(data.train_dataloader()), list(ready().train_dataloader()))
    assert equal(list(data.predict_dataloader()), list(only(ready().test_dataloader())))


def test_metrics_have_the_names_of_the_sets() -> None:
    """Fitting and testing log loss and accuracy of every test set under its name; its own, of all its images."""
    torch.manual_seed(0)
    model, data = MLP(depth=1, width=8), DigitsAndOthers(seed=0)
    running = Trainer(max_epochs=1, **QUIET)
    running.fit(model, data)
    logged = {name: value.item() for name, value in running.callback_metrics.items()}
    assert {f"{name}/{kind}" for name in ("test", "other", "few") for kind in ("loss", "accuracy")} <= set(logged)
    running.test(model, data, verbose=False)
    model.eval()
    for name in ("test", "other", "few"):
        part = data.sets[name]
        batch = part.__getitems__(torch.arange(len(part)))
        accuracy = (model(batch.image).argmax(1) == batch.true_label).double().mean().item()
        assert logged[f"{name}/accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert running.callback_metrics[f"{name}/accuracy"].item() == pytest.approx(accuracy, abs=1e-6)
    assert logged["test/accuracy"] != logged["other/accuracy"]


def test_training_is_unchanged_by_further_test_sets() -> None:
    """Weights after two epochs are the same bit for bit with one test set and with three."""
    one, _ = fitted(Digits(seed=0))
    three, _ = fitted(DigitsAndOthers(seed=0))
    assert all(torch.equal(weights, three[name]) for name, weights in one.items())


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
    for epoch in range(2):
        assert seen.batches[epoch] == order(4, epoch, size=1437)
    assert seen.batches.keys() == {0, 1}
    assert seen.batches[0] != seen.batches[1]


@pytest.mark.parametrize("ranks", [2, 4])
def test_several_devices_share_the_batches(ranks: int) -> None:
    """The processes' augmented batches, side by side, are those of one process."""
    settings: dict[str, Any] = {"augmentation": [RandomCrop(3), RandomFlip(), ColourJitter()], "normalisation": "unit"}
    whole = list(ready(RandomLabels(), **settings).train_dataloader())
    shares = []
    for rank in range(ranks):
        share = list(on_rank(ready(RandomLabels(), **settings), rank, ranks).train_dataloader())
        assert [batch.index.tolist() for batch in share] == order(0, rank=rank, ranks=ranks)
        shares.append(share)
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        together = Batch(*(torch.cat(part) for part in zip(*parts, strict=True)))
        assert equal([together._replace(image=batch.image)], [batch])
        assert_close(together.image, batch.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ranks", [2, 3])
def test_several_devices_evaluate_every_sample_once(ranks: int) -> None:
    """The processes' parts of every test set, one after the other, are the set; watching, testing and predicting."""
    parts: dict[str, list[Tensor]] = {"test": [], "other": [], "few": []}
    for rank in range(ranks):
        data = on_rank(ready(kind=WithOthers), rank, ranks)
        loaders = data.val_dataloader()
        assert isinstance(loaders, list)
        for loader in loaders:
            parts[loader.data.name] += [batch.index for batch in loader]
        predicted = torch.cat([batch.index for batch in data.predict_dataloader()])
        assert torch.equal(predicted, torch.arange(1100 * rank // ranks, 1100 * (rank + 1) // ranks))
    for name, size in (("test", 1100), ("other", 700), ("few", 30)):
        assert torch.equal(torch.cat(parts[name]), torch.arange(size))


def test_dealing_out_twice_is_refused() -> None:
    """On several devices Lightning's own sampler must be off; the message says how."""
    data = ready()
    data.trainer = Trainer(devices=2, strategy="ddp", **QUIET)
    for loader in (data.train_dataloader, data.val_dataloader):
        with pytest.raises(ValueError, match="use_distributed_sampler=False"):
            loader()


def test_corruptions_of_another_data_set_are_refused() -> None:
    """CIFAR-10's pairs of similar classes mean nothing elsewhere."""
    with pytest.raises(ValueError, match="AsymmetricLabels is for CIFAR10, not for Digits"):
        Digits(corruption=AsymmetricLabels(0.4))


def test_corruptions_that_would_draw_the_same_numbers_are_refused() -> None:
    """Two redraws of labels from one seed are one redraw; from two they are two; other kinds do not matter."""
    with pytest.raises(ValueError, match="RandomLabels would draw the numbers of a corruption before it"):
        Digits(corruption=[PartialLabels(0.3), ShuffledPixels(), RandomLabels()])
    Digits(corruption=[PartialLabels(0.3), ShuffledPixels(), RandomLabels(1), ColourLabels(), LinearLabels()])


def test_augmentations_fill_with_the_mean_colour() -> None:
    """What a crop adds around images is the training set's mean, which per-channel normalisation makes zero."""
    data = Digits(augmentation=RandomCrop(28, padding=28), normalisation="per_channel", seed=0)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    outside = (batch.image.abs() < 0.01).flatten(1).float().mean(1)
    assert (outside > 0.9).any()  # some window lies almost outside
    mean = data.sets["train"].data.image.float().mean((0, 2, 3))
    assert torch.equal(data.augmentations[0].ground(batch.image[:1]).flatten().round(), mean.round())
