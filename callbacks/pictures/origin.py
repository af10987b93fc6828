"""What a picture's numbers are of: network, data, corruption, length of training, chance level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from stratoscope.callbacks.pictures.probe_table import UNKNOWN

OURS = "stratoscope.datamodules."
BY_NAME = {"TorchvisionClassifier", "TimmClassifier"}  # any network of a library
UNTOUCHED = "true labels"


@dataclass(frozen=True)
class Origin:
    """What was measured, as far as it is known; what is not known is empty.

    Attributes:
        network: Such as `MLP` or `ResNet-18`.
        data: Such as `Digits`.
        corruption: What the network was trained on, such as `PartialLabels p 0.5`, or `true labels`.
        classes: Number of classes.
        name: Of the run.
    """

    network: str = ""
    data: str = ""
    corruption: str = ""
    classes: int | None = None
    name: str = ""

    @property
    def chance(self) -> float | None:
        """Share of labels that are right when they are guessed."""
        return 1 / self.classes if self.classes else None

    def told(self, epochs: int) -> dict[str, str]:
        """The parts of a heading, by what they say.

        Args:
            epochs: Number of finished epochs of training, or `UNKNOWN`.
        """
        trained = f"{epochs} epoch{'s' * (epochs != 1)}" if epochs else "untrained"
        trained = "" if epochs == UNKNOWN else trained
        chance = f"chance {100 / self.classes:.3g} %" if self.classes else ""
        on = f"trained on {self.corruption}" if self.corruption and epochs else self.corruption
        return {"network": self.network, "data": self.data, "trained on": on, "epochs": trained, "chance": chance}

    @classmethod
    def of_trainer(cls, trainer: Trainer, module: LightningModule, classes: int | None = None) -> "Origin":
        """What a trainer is training.

        Args:
            trainer: Whose data it is.
            module: The network.
            classes: Number of classes, where the data module is none of ours.
        """
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        corruption = ""
        if any(kind.__module__.startswith(OURS) for kind in type(datamodule).__mro__):
            corruption = _corruption([(type(one).__name__, vars(one)) for one in datamodule.corruptions])
            classes = datamodule.classes
        return cls(
            _network(type(module).__name__, module.hparams if isinstance(module.hparams, Mapping) else {}),
            "" if datamodule is None else type(datamodule).__name__,
            corruption,
            classes,
        )

    @classmethod
    def of_settings(
        cls, settings: Mapping[str, Any], ours: bool, classes: int | None = None, name: str = ""
    ) -> "Origin":
        """What a run was about, from its config.

        Args:
            settings: By option, such as `model.depth` (see `short_config`); some may be missing.
            ours: Whether the data module is one of ours: without a corruption, its labels are the true ones.
            classes: Number of classes.
            name: Of the run.
        """
        listed = [one for one in str(settings.get("data.corruption") or "").split(", ") if one not in {"", "none"}]
        parts = []
        for number, one in enumerate(listed):
            again = listed[:number].count(one)
            inside = f"{one}{f'-{again + 1}' if again else ''}." if len(listed) > 1 else ""
            prefix = f"data.corruption.{inside}"
            parts.append((one, {key.removeprefix(prefix): settings[key] for key in settings if key.startswith(prefix)}))
        return cls(
            _network(
                str(settings.get("model") or ""), {key: settings.get(f"model.{key}") for key in ("name", "depth")}
            ),
            str(settings.get("data") or ""),
            _corruption(parts) if ours else "",
            classes,
            name,
        )


def _network(kind: str, arguments: Mapping[str, Any]) -> str:
    name, depth = arguments.get("name"), arguments.get("depth")
    if kind in BY_NAME and isinstance(name, str):
        return name
    return f"{kind}-{depth:.0f}" if kind.endswith(("Net", "VGG")) and _number(depth) else kind


def _corruption(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Corruptions with what says how much of each there is."""
    told = []
    for name, arguments in parts:
        given = [f"{key} {arguments[key]:,}" for key in ("p", "n") if _number(arguments.get(key))]
        kind = arguments.get("annotation")
        given = [] if name == "RandomLabels" else given  # all of them: its p is 1
        told.append(" ".join([name, *given, *([kind] if isinstance(kind, str) else [])]))
    return " and ".join(told) or UNTOUCHED


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value  # NaN where only another run has it
