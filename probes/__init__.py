"""Instruments: what can be measured on a frozen network. Pure PyTorch: no Lightning, no files, no logging."""

from stratoscope.probes.interval import wilson
from stratoscope.probes.isolation import frozen
from stratoscope.probes.logistic import LogisticFit, fit_logistic
from stratoscope.probes.probing import probe
from stratoscope.probes.reduction import average_pool
from stratoscope.probes.separability import HELD_OUT, LabelledFeatures, Separability, separability
from stratoscope.probes.sharding import Shard
from stratoscope.probes.standardisation import Standardisation
from stratoscope.probes.taps import Tap, find_taps, read_features, select_taps

__all__ = [
    "HELD_OUT",
    "LabelledFeatures",
    "LogisticFit",
    "Separability",
    "Shard",
    "Standardisation",
    "Tap",
    "average_pool",
    "find_taps",
    "fit_logistic",
    "frozen",
    "probe",
    "read_features",
    "select_taps",
    "separability",
    "wilson",
]
