"""How many processes a run has, and which of them this is: its options say so, not what is left in the environment.

Launchers and schedulers name a process's rank in variables (RANK, SLURM_PROCID, ...), and leave them to every shell and
script below. Lightning takes the first that it finds when it is imported, before anyone knows how many processes there
will be; a run of one process would so take itself for the second of several, and write nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from stratoscope.dependencies import RANKS
from stratoscope.errors import Refused

RUN = "STRATOSCOPE_RUN"  # the name of the run, for the processes that Lightning starts


class OneProcess(LightningEnvironment):
    """The environment of a run of one process, whatever the variables say."""

    @property
    def creates_processes_externally(self) -> bool:
        """True: there are no others to be started."""
        return True

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A free port, for strategies that connect even one process."""
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def local_rank(self) -> int:
        """The first."""
        return 0

    def node_rank(self) -> int:
        """The first."""
        return 0


def asks_for_one(trainer: Namespace) -> bool:
    """Whether the options of a trainer ask for one process.

    Args:
        trainer: The parsed options `--trainer.*`.
    """
    devices = trainer.devices
    on_cpu = trainer.accelerator == "cpu" or not torch.accelerator.is_available()
    if str(devices) in {"auto", "-1"}:
        count = 1 if on_cpu else torch.accelerator.device_count()
    elif isinstance(devices, list):
        count = len(devices)
    else:
        parts = [part for part in str(devices).split(",") if part.strip()]
        count = len(parts) if "," in str(devices) else int(parts[0]) if parts and parts[0].isdecimal() else 0
    return bool(trainer.num_nodes == 1 and count == 1)


def ranks_left() -> str:
    """The variables by which this process would not be the first, such as RANK=1; nothing if there are none."""
    return ", ".join(f"{name}={os.environ[name]}" for name in RANKS if int(os.environ.get(name) or 0))


def check_launcher() -> None:
    """Refuse several processes where the environment is half of a launcher's, in which they would wait for ever.

    Raises:
        Refused: If SLURM's variables are those of an allocation, or the rank is given without a port to meet at.
    """
    if TorchElasticEnvironment.detect():
        return
    if SLURMEnvironment.detect():
        if "SLURM_PROCID" not in os.environ:
            raise Refused(
                "SLURM_NTASKS is in the environment, but this process was not started by srun: put srun before the "
                "command, or unset SLURM_NTASKS"
            )
    elif "LOCAL_RANK" in os.environ and "MASTER_PORT" not in os.environ:
        raise Refused(
            f"LOCAL_RANK is {os.environ['LOCAL_RANK']} in the environment, as if a launcher had started this process, "
            "but MASTER_PORT, where its processes would meet, is not there: unset LOCAL_RANK"
        )


def check_number(trainer: Trainer) -> None:
    """Compare the number of processes that a launcher has started with the trainer's.

    Args:
        trainer: Built and not started.

    Raises:
        Refused: If they differ.
    """
    environment: ClusterEnvironment | None = getattr(trainer.strategy, "cluster_environment", None)
    variables: dict[type, str] = {TorchElasticEnvironment: "WORLD_SIZE", SLURMEnvironment: "SLURM_NTASKS"}
    variable = variables.get(type(environment))
    asked = trainer.num_devices * trainer.num_nodes
    if environment is not None and variable and environment.world_size() != asked:
        raise Refused(
            f"--trainer.devices x --trainer.num_nodes is {asked}, but there are "
            f"{environment.world_size()} processes ({variable} in the environment)"
        )


@contextmanager
def named_for_others(name: str) -> Iterator[None]:
    """Name the run to the processes that this one starts.

    Args:
        name: Of the run.
    """
    os.environ[RUN] = name
    try:
        yield
    finally:
        os.environ.pop(RUN, None)


def name_from_first() -> str | None:
    """The name of the run of the process that has started this one as one of several; None in the first."""
    return os.environ.get(RUN) if int(os.environ.get("LOCAL_RANK") or 0) else None


def set_rank(rank: int) -> None:
    """Let whatever speaks or writes in the first process only know which one this is.

    Args:
        rank: Of this process among all.
    """
    rank_zero_only.rank = rank  # type: ignore[attr-defined]
