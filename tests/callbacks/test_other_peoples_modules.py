"""Modules of the kinds that other people write: probed with the right numbers, or refused in one line.

What is right is computed without the callback's and `probe`'s own parts: the network's layers are called by hand (see
`modules_of_others`), and scikit-learn fits the classifiers.
"""

import random
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.probes import frozen, probe
from tests.callbacks.modules_of_others import batches, passes, self_supervised, text, vision, weights
from tests.callbacks.modules_of_others.case import SAMPLES, Case

CASES: list[Case] = [case for kind in (vision, text, self_supervised, weights, passes, batches) for case in kind.CASES]
# of these there are others of their kind
LIKE_OTHERS = {
    "vit, class tokens",
    "vit, narrow width",
    "swin, average pool",
    "swin, channel means",
    "convnext, channel means",
    "3-d convolution",
    "stochastic depth",
    "1,000 classes",
    "lstm, steps first",
    "lstm, as many steps as samples",
    "lstm, steps first, two of them",
    "gru over token ids",
    "transformer, batch first",
    "a queue of embeddings",
    "spectral norm of old",
    "weight norm",
    "logs in forward",
    "counts every pass",
    "dict of hugging face's",
    "two views",
    "named tuple",
    "forward takes the batch",
    "two inputs, by a function",
    "labels torch.int8",
    "labels torch.int16",
    "labels torch.int32",
    "labels torch.uint8",
}
assert {case.name for case in CASES} >= LIKE_OTHERS
RIDGE = 0.1
EPOCHS = 1


def train(case: Case, folder: Path, *callbacks: Callback) -> tuple[LightningModule, Trainer]:
    """Train from seed 0."""
    seed_everything(0, verbose=False)
    module = case.module()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"accelerator": "cpu", "max_epochs": EPOCHS, "logger": False, **quiet, **case.trainer}
    trainer = Trainer(default_root_dir=folder, callbacks=[*callbacks], **options)
    trainer.fit(module, case.batches("train"), case.batches("test"))
    return module, trainer


def state(module: nn.Module) -> dict[str, Any]:
    """All that a module holds, also what is neither parameter nor buffer, and the generators."""
    held: dict[str, Any] = {"numpy": str(np.random.get_state())}
    if "beartype" not in sys.modules:  # it draws from Python's generator
        held["python"] = random.getstate()
    held["torch"] = torch.get_rng_state().tolist()
    for name, part in module.named_modules():
        tensors = {**vars(part), **part._parameters, **part._buffers}
        held |= {f"{name}.{key} grad": value.grad for key, value in part._parameters.items() if value is not None}
        for key, value in tensors.items():
            if key.endswith("_hooks"):
                held[f"{name}.{key}"] = len(value)
            elif isinstance(value, (Tensor, bool, int, float)) and not key.startswith("_"):
                held[f"{name}.{key}"] = value
    return {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in held.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is not bit for bit the same."""

    def equal(one: Any, other: Any) -> bool:
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            return torch.equal(one, other)
        return one is other or (not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other))

    names = {**before, **after}
    return [n for n in names if n not in before or n not in after or not equal(before[n], after[n])]


def expected(case: Case, module: LightningModule, trainer: Trainer | None) -> dict[str, dict[str, Any]]:
    """By layer and set: see `fitted`."""
    features: dict[str, dict[str, Any]] = {}
    labels = {}
    for split in SAMPLES:
        x, label = case.tensors(split)
        label = label.flatten().long()
        kept = label >= 0
        if case.read is not None and split == "train":
            kept &= torch.isin(torch.arange(len(label)), torch.tensor(case.read))
        labels[split] = label[kept].numpy()
        with frozen(module), trainer.precision_plugin.forward_context() if trainer else nullcontext():
            found = case.by_hand(module, x.clone()) if case.by_hand else module.by_hand(x.clone())  # type: ignore[operator]
        for layer, rows in found.items():
            assert len(rows) == len(x)
            features.setdefault(layer, {})[split] = rows[kept].double().numpy()
    return {layer: fitted(sets, labels) for layer, sets in features.items()}


def fitted(sets: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """What scikit-learn's regression gives on every set, with the number of samples that are close to a boundary."""
    x, y = sets["train"], labels["train"]
    mean, deviation = x.mean(0), x.std(0)
    scale = np.divide(1, deviation, out=np.zeros_like(mean), where=deviation > 1e-5 * abs(mean))
    classes = len(set(y))
    strength = RIDGE * (0.5 if classes == 2 else 1)  # of two classes it has one vector, the difference of ours
    model = LogisticRegression(C=1 / (strength * len(y)), tol=1e-9, max_iter=10_000).fit((x - mean) * scale, y)
    results = {}
    for split, rows in sets.items():
        log_p = model.predict_log_proba((rows - mean) * scale)
        right = np.searchsorted(model.classes_, labels[split])
        sure = np.sort(log_p, 1)
        results[split] = {
            "features": x.shape[1],
            "count": len(rows),
            "loss": -log_p[np.arange(len(rows)), right].mean(),
            "correct": (log_p.argmax(1) == right).sum(),
            "close": (sure[:, -1] - sure[:, -2] < 0.02).sum(),
        }
    results["train"]["objective"] = results["train"]["loss"] + strength / 2 * (model.coef_**2).sum()
    return results


def compare(layer: str, rows: Iterable[dict[str, Any]], right: dict[str, Any]) -> None:
    """Rows of a layer are those that are expected."""
    found = {("train" if row["split"] == "train" else "test"): row for row in rows}
    assert set(found) == set(right), f"{layer}: there are rows of {', '.join(found) or 'no set'}"
    for split, row in found.items():
        assert not row["failed"], f"{layer}: {row['failed']}"
        assert (row["features"], row["count"]) == (right[split]["features"], right[split]["count"]), layer
        assert row["loss"] == pytest.approx(right[split]["loss"], abs=3e-3), f"{layer}, {split}"
        assert abs(row["correct"] - right[split]["correct"]) <= right[split]["close"], f"{layer}, {split}"
    assert found["train"]["objective"] == pytest.approx(right["train"]["objective"], abs=2e-5), layer


def probed(case: Case, module: LightningModule) -> dict[str, list[dict[str, Any]]]:
    """Rows by layer, of `probe()`."""
    options = {"reduce" if name == "reduction" else name: value for name, value in case.options.items()}
    results = probe(module, {split: case.batches(split) for split in SAMPLES}, ridge=RIDGE, **options)
    return {layer: [vars(row) for row in rows] for layer, rows in results.items()}


def watched(case: Case, folder: Path, *callbacks: Callback) -> tuple[LightningModule, Trainer]:
    """Train it with and without callbacks: weights, all else it holds, metrics and steps are the same."""
    plain, alone = train(case, folder)
    before, metrics = state(plain), dict(alone.callback_metrics)
    module, trainer = train(case, folder, *callbacks)
    assert not changed(before, state(module)), "training is another"
    assert not changed(metrics, {name: trainer.callback_metrics.get(name) for name in metrics})
    assert (trainer.current_epoch, trainer.global_step) == (alone.current_epoch, alone.global_step)
    return module, trainer


def refused(case: Case, folder: Path) -> None:
    """Its answer is one line, before the first step, and nothing has changed."""
    seed_everything(0, verbose=False)
    fresh = case.module()
    kept: list[LightningModule] = []

    class Keeps(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            kept.append(pl_module)

        def on_train_batch_start(self, *_: Any, **__: Any) -> None:
            raise AssertionError("a step of training has begun")

    with pytest.raises((ValueError, TypeError), match=case.answer) as caught:
        train(case, folder, LinearProbes(ridge=RIDGE, **case.options), Keeps())
    assert "\n" not in str(caught.value).strip()
    left = dict(kept[0].named_parameters())
    assert all(torch.equal(value, left[name]) for name, value in fresh.named_parameters() if not is_lazy(value))
    if not case.alone:
        with pytest.raises((ValueError, TypeError), match=case.answer) as caught:
            probed(case, fresh)
        assert "\n" not in str(caught.value).strip()


@pytest.mark.filterwarnings("ignore:.*this fit will run with no optimizer:UserWarning")
@pytest.mark.filterwarnings("ignore:probe leaves out what it cannot read:UserWarning")
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in LIKE_OTHERS else []) for case in CASES],
)
def test_it_has_the_right_numbers_or_is_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    """And training is what it is without probes, and the network what it was before `probe()`."""
    if case.answer:
        return refused(case, tmp_path)
    if case.online:
        with pytest.raises((ValueError, TypeError), match=case.online):
            train(case, tmp_path, OnlineProbes(**case.options))
    probes, online = LinearProbes(ridge=RIDGE, every_n_epochs=EPOCHS, **case.options), OnlineProbes(**case.options)
    module, trainer = watched(case, tmp_path, probes, *([] if case.online else [online]))
    assert probes.table.unique("epoch") == [0, EPOCHS]
    for layer, right in expected(case, module, trainer).items():
        compare(layer, [row for row in probes.table.rows if (row["epoch"], row["layer"]) == (EPOCHS, layer)], right)
        trained = [row for row in online.table.rows if (row["split"], row["layer"]) == ("train", layer)]
        found = {(row["failed"], row["features"], row["count"]) for row in trained}
        assert case.online or found == {("", right["train"]["features"], right["train"]["count"])}
    before = state(module)
    rows = probed(case, module)
    assert not changed(before, state(module)), "probe() has changed the network"
    for layer, right in expected(case, module, None).items():
        compare(layer, rows[layer], right)
