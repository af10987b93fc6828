"""What this machine has, and what would go wrong on it, in one screen; for `stratoscope doctor`."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

import stratoscope
from stratoscope.callbacks.instruments.wandb_server import reachable, server
from stratoscope.datamodules import CIFAR10, CIFAR100
from stratoscope.dependencies import OPTIONAL, requirements
from stratoscope.fit.wandb_setup import has_key
from stratoscope.run.directory import RECORDED

Finding = tuple[str, str, str]  # subject, what was found, what is wrong with it (empty if nothing is)
MALICIOUS = {"lightning": {"2.6.2", "2.6.3"}}  # GHSA-w37p-236h-pfx3
PAIRS = {"2.11": "0.26", "2.12": "0.27", "2.13": "0.28", "2.14": "0.29"}  # torch and its torchvision
LITTLE = 2  # GiB of disk below which a run may fail


def examined(data: str | None = None, runs: str = "runs") -> tuple[str, bool]:
    """Examine this machine.

    Args:
        data: Folder with CIFAR-10 or CIFAR-100, to be compared with their published digests; None looks at none.
        runs: Folder of all run directories.

    Returns:
        The text, and whether nothing is wrong.
    """
    findings = [*_versions(), *_devices(), _disk(Path(runs)), _wandb(), *_data(data)]
    widest = max(len(subject) for subject, _, _ in findings)
    lines = [f"{'!!' if wrong else 'ok'}  {subject:<{widest}}  {found}" for subject, found, wrong in findings]
    wrong = [f"!!  {subject}: {reason}" for subject, _, reason in findings if reason]
    return "\n".join([*lines, "", *(wrong or ["nothing is wrong"])]), not wrong


def _versions() -> Iterator[Finding]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield "stratoscope", f"{stratoscope.__version__}, {system}", ""
    wanted = {need.name: need for need in map(Requirement, requirements())}
    for name in RECORDED:
        try:
            found = version(name)
        except PackageNotFoundError:
            optional = name in OPTIONAL
            only = ", which only runs that log to it need" if optional else ""
            yield name, f"not installed{only}", "" if optional else "it is not installed"
            continue
        wrong = ""
        if name in wanted and not wanted[name].specifier.contains(found, prereleases=True):
            wrong = f"version {found} does not satisfy {wanted[name].specifier}"
        if found in MALICIOUS.get(name, ()):
            wrong = f"version {found} carried malware: remove it, and change the passwords and keys of this machine"
        if name == "torchvision":
            pair = PAIRS.get(_minor(torch.__version__))
            if pair not in {None, _minor(found)}:
                wrong = f"version {found} was built for another torch than {torch.__version__}: take {pair}"
        yield name, found, wrong


def _minor(number: str) -> str:
    return ".".join(number.split(".")[:2])


def _devices() -> Iterator[Finding]:
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    advice = "one thread (--threads 1) is fastest on a machine that is not idle"
    yield "processor", f"{cores} cores, {threads} threads, load {_load()}; {advice}", ""
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        yield f"GPU {number}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB", ""
    if not torch.cuda.device_count():
        mps = torch.backends.mps.is_available()
        yield "GPU", "Apple's (mps)" if mps else "none", ""


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _disk(runs: Path) -> Finding:
    place = next(path for path in [runs.absolute(), *runs.absolute().parents] if path.exists())
    free = shutil.disk_usage(place).free / 2**30
    wrong = "" if os.access(place, os.W_OK) else f"{place} cannot be written to"
    if free < LITTLE:
        wrong = f"{free:.1f} GiB are left in {place}"
    return "disk", f"{free:.0f} GiB free in {place}", wrong


def _wandb() -> Finding:
    key = "an API key" if has_key() else "no API key: runs are written offline"
    return "W&B", f"{key}; {server()} is {'' if reachable() else 'not '}reachable", ""


def _data(folder: str | None) -> Iterator[Finding]:
    if folder is None:
        yield "data", "none looked at: stratoscope doctor FOLDER compares CIFAR-10 or CIFAR-100 with its digests", ""
        return
    reasons = []
    kinds: list[Callable[..., CIFAR10 | CIFAR100]] = [CIFAR10, CIFAR100]
    for kind in kinds:
        data = kind(root=folder)
        try:
            data.prepare_data()
            data.setup()
        except (OSError, ValueError) as error:
            reasons.append(str(error))
            continue
        hashes = ", ".join(f"{name} {digest[:16]}" for name, digest in data.content_hashes().items())
        yield "data", f"{type(data).__name__} in {folder}, SHA-256 {hashes}", ""
    if len(reasons) == len(kinds):
        yield "data", folder, reasons[0]
