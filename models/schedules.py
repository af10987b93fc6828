"""Learning-rate schedules: when they are stepped, and one whose arguments are single numbers that configs can hold."""

from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

Interval = Literal["epoch", "step"]
PER_STEP = (OneCycleLR, CyclicLR)  # whose lengths are numbers of steps, as their authors mean them


class DividedAt(MultiStepLR):
    """The learning rate is divided after given epochs, up to three times.

    Args:
        optimizer: Whose learning rate it is.
        first: Epochs before the first division.
        second: Before the second; None for no second one.
        third: Before the third; None for no third one.
        by: The divisor.
    """

    def __init__(
        self, optimizer: Optimizer, first: int, second: int | None = None, third: int | None = None, by: float = 10.0
    ) -> None:
        super().__init__(optimizer, [epoch for epoch in (first, second, third) if epoch is not None], gamma=1 / by)


def when_stepped(
    scheduler: LRScheduler, interval: Interval | None = None, monitor: str | None = None
) -> dict[str, Any]:
    """When Lightning is to step a schedule, as `configure_optimizers` returns it.

    Args:
        scheduler: The schedule.
        interval: epoch or step; None takes what the schedule is made for.
        monitor: Name of the metric that ReduceLROnPlateau watches; None takes the schedule's own `monitor`, which
            Lightning's has, or else train/loss.

    Raises:
        ValueError: If one of them does not fit the schedule.
    """
    kind = type(scheduler).__name__
    plateau = isinstance(scheduler, ReduceLROnPlateau)
    if monitor is not None and not plateau:
        raise ValueError(f"monitor {monitor} is for the schedule ReduceLROnPlateau, not for {kind}: leave it out")
    if plateau and interval == "step":
        raise ValueError(f"interval step is not for {kind}, whose metric is that of an epoch: leave it out")
    found: dict[str, Any] = {
        "scheduler": scheduler,
        "interval": interval or ("step" if isinstance(scheduler, PER_STEP) else "epoch"),
    }
    if plateau:
        found["monitor"] = monitor or getattr(scheduler, "monitor", None) or "train/loss"
    return found
