"""Learning-rate schedules whose arguments are single numbers, so that configs can hold them."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR


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
