"""Less on the user's screen: what Lightning and its dependencies say of themselves and of each other."""

import logging
import re
import warnings

from stratoscope.printable import printable

# Lightning's advertisements and announcements that the first line of a run says better
NOISE = (
    "💡",
    "Seed set to",
    "GPU available",
    "TPU available",
    "HPU available",
    "`Trainer.fit` stopped",
    "Restoring states",
    "Loaded",
)


def quieten() -> None:
    """Keep Lightning's announcements and what its dependencies say of each other from the user's screen."""
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
        "lightning.fabric.utilities.rank_zero",
    ):
        logging.getLogger(name).addFilter(_said)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # the data are in memory
    warnings.filterwarnings(
        "ignore", message=".*smaller than the logging interval.*"
    )  # metrics are logged once an epoch
    warnings.filterwarnings("ignore", message="You are using a custom batch sampler")  # which leaves nothing out
    warnings.filterwarnings(
        "ignore", message=".*recommended to use `self.log\\(.*sync_dist"
    )  # LabelMetrics has summed them
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 on torch 2.13 and later
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a run goes on
    # a stored network is measured by other callbacks than it was trained beside; fit says what is other
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`, callbacks used to create")
    # a command that starts its processes itself, on a machine that belongs to a cluster
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")


def _said(record: logging.LogRecord) -> bool:
    """Whether to say a line; what in it would steer the terminal, such as a layer's name, is written out."""
    record.msg, record.args = printable(record.getMessage()), None
    return not re.sub(r"^\[rank: \d+\] ", "", record.msg).startswith(NOISE)  # Lightning puts a rank before some
