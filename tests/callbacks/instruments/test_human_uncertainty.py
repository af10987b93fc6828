"""Tests of callbacks/instruments/human_uncertainty.py."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from scipy.special import rel_entr
from scipy.stats import entropy, pearsonr
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks.instruments.human_uncertainty import HumanMetrics, HumanUncertainty, read_shares
from stratoscope.datamodules import Digits
from stratoscope.models import MLP

pytestmark = pytest.mark.usefixtures("no_pictures")

NAMES = {"accuracy", "agreement", "cross_entropy", "divergence", "calibration_error", "entropy_correlation"}


def random_case(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and shares of 50 people of whom many agree, as float64."""
    random = np.random.default_rng(seed)
    votes = np.stack([random.multinomial(50, random.dirichlet(np.full(10, 0.1))) for _ in range(n)])
    shares = votes / 50
    return torch.from_numpy(2 * shares + random.normal(size=(n, 10))).float(), torch.from_numpy(shares)


def of_digits() -> Tensor:
    """Shares of people of whom most see the right digit, for the test images of Digits."""
    shares, label = random_case(360)[1], Digits().load()["test"].true_label
    most = shares.argmax(1)
    swapped = shares.scatter(1, most[:, None], shares.gather(1, label[:, None]))
    return swapped.scatter(1, label[:, None], shares.amax(1, keepdim=True))


def computed(*updates: tuple[Tensor, Tensor]) -> dict[str, float]:
    """The metrics after some updates."""
    metrics = HumanMetrics()
    for logits, human in updates:
        metrics.update(logits, human)
    return {name: mean.item() for name, mean in metrics.compute().items()}


def expected_calibration_error(logits: Tensor, human: Tensor) -> float:
    """By the definition, bin by bin."""
    q = logits.double().softmax(1).numpy()
    confidence, predicted = q.max(1), q.argmax(1)
    outcome = human.numpy()[np.arange(len(q)), predicted]
    error = 0.0
    for place in range(15):
        inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - outcome[inside].mean())
    return error


def stored(folder: Path, shares: Any) -> str:
    """An .npy file."""
    file = folder / "human.npy"
    np.save(file, shares)
    return str(file)


def trainer(*callbacks: HumanUncertainty, **settings: Any) -> Trainer:
    """A trainer of one epoch that writes nothing."""
    quiet = {name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    return Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1, **quiet, **settings}, callbacks=[*callbacks]
    )


def small() -> MLP:
    """An MLP of one layer of 16 units."""
    torch.manual_seed(0)
    return MLP(width=16)


def test_computed_by_hand() -> None:
    """Two images of two classes: people 3:1 and 1:1, the network 3:1 and 1:3."""
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log()
    human = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    own = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    other = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25))
    assert computed((logits, human)) == pytest.approx({  # without a correlation: the network's entropy does not vary
        "accuracy": (0.75 + 0.5) / 2,
        "agreement": 1.0,  # the second image has two most frequent labels
        "cross_entropy": (own + other) / 2,
        "divergence": (0 + other - math.log(2)) / 2,
        "calibration_error": 0.75 - (0.75 + 0.5) / 2,  # both in one bin
    })


def test_agrees_with_other_libraries() -> None:
    """On 500 random images all values are those of SciPy and NumPy."""
    logits, human = random_case(500)
    q, p = logits.double().softmax(1).numpy(), human.numpy()
    predicted = q.argmax(1)
    correlation: Any = pearsonr(entropy(p, axis=1), entropy(q, axis=1))
    assert computed((logits, human)) == pytest.approx({
        "accuracy": p[np.arange(500), predicted].mean(),
        "agreement": (p[np.arange(500), predicted] == p.max(1)).mean(),
        "cross_entropy": -(p * np.log(q)).sum(1).mean(),
        "divergence": rel_entr(p, q).sum(1).mean(),
        "calibration_error": expected_calibration_error(logits, human),
        "entropy_correlation": correlation.statistic,
    })


def test_a_network_that_is_like_people_is_perfect() -> None:
    """With q = p divergence and calibration error are 0, the correlation 1, agreement 1, and cross-entropy H(p)."""
    _, human = random_case(300)
    human = (human + 0.01) / 1.1
    means = computed((human.log(), human))
    assert means["divergence"] == pytest.approx(0, abs=1e-7)
    assert means["calibration_error"] == pytest.approx(0, abs=1e-7)
    assert means["entropy_correlation"] == pytest.approx(1)
    assert means["agreement"] == 1
    assert means["cross_entropy"] == pytest.approx(entropy(human.numpy(), axis=1).mean())


def test_a_sure_network_has_finite_values() -> None:
    """Probabilities of exactly 0 and 1, where people agree with the network and where they do not."""
    logits = torch.tensor([[2000.0, 0.0, 0.0], [2000.0, 0.0, 0.0]])
    human = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    means = computed((logits, human))
    assert means["cross_entropy"] == means["divergence"] == 1000
    assert (means["accuracy"], means["agreement"], means["calibration_error"]) == (0.5, 0.5, 0.5)


def test_batches_of_different_sizes_equal_one() -> None:
    """Every image counts the same, whatever batch it comes in."""
    logits, human = random_case(100)
    parts = [(logits[where], human[where]) for where in (slice(0, 7), slice(7, 8), slice(8, 100))]
    assert computed(*parts) == pytest.approx(computed((logits, human)), rel=1e-6)


def test_devices_are_summed() -> None:
    """Torchmetrics' synchronisation of two devices with different numbers of images gives the whole's values."""
    logits, human = random_case(100)
    here, there = HumanMetrics(), HumanMetrics()
    here.update(logits[:30], human[:30])
    there.update(logits[30:], human[30:])
    others = [there.metric_state[name] for name in here.metric_state]

    def gather(state: Tensor, group: object = None) -> list[Any]:
        return [state, others.pop(0)]

    here.dist_sync_fn, here.distributed_available_fn = gather, lambda: True
    merged = {name: mean.item() for name, mean in here.compute().items()}
    assert not others
    assert merged == pytest.approx(computed((logits, human)), rel=1e-6)


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_values_of_the_whole_test_set_are_logged(tmp_path: Path, command: str) -> None:
    """Validating during training, validating and testing log the metrics of all 360 test images by their index."""
    human = of_digits()
    data, model = Digits(seed=0), small()
    running = trainer(HumanUncertainty(stored(tmp_path, human.numpy())))
    getattr(running, command)(model, data)
    batches = list(data.predict_dataloader())
    with torch.no_grad():
        logits = torch.cat([model.eval()(batch.image) for batch in batches])
    wanted = computed((logits, human[torch.cat([batch.index for batch in batches])]))
    logged = {name: running.callback_metrics[f"human/{name}"].item() for name in NAMES}
    assert logged == pytest.approx(wanted, rel=1e-5)


def test_training_is_unchanged(tmp_path: Path) -> None:
    """The weights are bit for bit what they are without the callback."""
    file = stored(tmp_path, of_digits().numpy())
    weights = []
    for callbacks in ([], [HumanUncertainty(file)]):
        model = small()
        trainer(*callbacks).fit(model, Digits(seed=0))
        weights.append(torch.cat([part.flatten() for part in model.parameters()]))
    assert torch.equal(*weights)


def test_another_number_of_images_is_refused(tmp_path: Path) -> None:
    """The message has both numbers."""
    callback = HumanUncertainty(stored(tmp_path, random_case(50)[1].numpy()))
    with pytest.raises(ValueError, match=r"human.npy is about 50 images; test has 360"):
        trainer(callback).validate(small(), Digits(seed=0), verbose=False)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    """The message has the number there is."""
    callback = HumanUncertainty(stored(tmp_path, np.full((360, 5), 0.2)))
    with pytest.raises(ValueError, match=r"human.npy has 5 classes; test has more"):
        trainer(callback).validate(small(), Digits(seed=0), verbose=False)


def test_another_test_set_is_refused(tmp_path: Path) -> None:
    """The message has the names there are."""
    callback = HumanUncertainty(stored(tmp_path, random_case(360)[1].numpy()), test_set="cifar10.1")
    with pytest.raises(ValueError, match=r"for the test set cifar10.1; there are test"):
        trainer(callback).validate(small(), Digits(seed=0), verbose=False)


def test_a_module_without_logits_is_refused(tmp_path: Path) -> None:
    """The message says what is needed."""

    class Somebody(LightningModule):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing to return."""

    callback = HumanUncertainty(stored(tmp_path, random_case(4)[1].numpy()))
    plain = DataLoader(TensorDataset(torch.zeros(4, 2)))
    with pytest.raises(
        TypeError, match="that return the logits, and batches with the field index; got NoneType and list"
    ):
        trainer(callback).validate(Somebody(), plain, verbose=False)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (np.full((4, 10), 0.2), "sum to 1 in every row; row 0 does not"),
        (np.array([[0.5, 0.5], [1.5, -0.5]]), "sum to 1 in every row; row 1 does not"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), "sum to 1 in every row; row 1 does not"),
        (np.full(10, 0.1), r"shares \(images, classes\), got float64 \(10,\)"),
        (np.ones((4, 1), dtype=np.int64), r"shares \(images, classes\), got int64 \(4, 1\)"),
        (np.ones((0, 10)), r"shares \(images, classes\), got float64 \(0, 10\)"),
        (np.array([None, None]), r"cannot be read as an .npy of numbers \(ValueError: Object arrays"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, shares: Any, message: str) -> None:
    """One line says what is wrong with which file."""
    with pytest.raises(ValueError, match=rf"human.npy .*{message}[^\n]*$"):
        HumanUncertainty(stored(tmp_path, shares))


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A missing file says where to fetch it; a damaged one, an empty one and an .npz that they cannot be read."""
    with pytest.raises(FileNotFoundError, match=r"no human shares in .*none.npy: fetch cifar10h-probs.npy from https"):
        HumanUncertainty(str(tmp_path / "none.npy"))
    file = Path(stored(tmp_path, np.full((40, 10), 0.1)))
    for content in (file.read_bytes()[:300], b"", b"no such thing"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"human.npy cannot be read as an .npy of numbers"):
            HumanUncertainty(str(file))
    np.savez(tmp_path / "human.npz", shares=np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"human.npz must have .* got several arrays"):
        HumanUncertainty(str(tmp_path / "human.npz"))


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_CIFAR10H" not in os.environ, reason="STRATOSCOPE_TEST_CIFAR10H names no file")
def test_the_real_file() -> None:
    """Some 51 people each judged 10,000 images: the most frequent label has 95 % of them on average."""
    human = read_shares(Path(os.environ["STRATOSCOPE_TEST_CIFAR10H"]))
    assert human.shape == (10_000, 10)
    assert human.amax(1).mean().item() == pytest.approx(0.95, abs=0.01)
    assert torch.special.entr(human).sum(1).mean().item() == pytest.approx(0.18, abs=0.05)


def test_another_order_is_refused(tmp_path: Path) -> None:
    """Shares whose majority is not the true label of the image are of other images; their rows in disorder are too."""
    callback = HumanUncertainty(stored(tmp_path, of_digits().flip(0).numpy()))
    with pytest.raises(ValueError, match=r"human.npy is about other images than test, or another order of them"):
        trainer(callback).validate(small(), Digits(seed=0), verbose=False)


def test_damaged_shares_of_the_published_size_are_refused(tmp_path: Path) -> None:
    """A file of 10,000 x 10 shares must be the published one to the bit."""
    shares = np.full((10_000, 10), 0.1)
    with pytest.raises(ValueError, match=r"human.npy is damaged: its shares are not those of CIFAR-10H"):
        HumanUncertainty(stored(tmp_path, shares))
