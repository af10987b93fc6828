"""Instruments: what can be measured on a frozen network. Pure PyTorch: no Lightning, no files, no logging."""

from stratoscope.probes.geometry.collapse import NeuralCollapse, classifier_weights, neural_collapse
from stratoscope.probes.geometry.neighbours import neighbour_accuracy
from stratoscope.probes.geometry.rank import effective_rank, participation_ratio, spectrum
from stratoscope.probes.geometry.similarity import Arrangement, linear_cka
from stratoscope.probes.linear.budget import GIB, Budget
from stratoscope.probes.linear.control import control_labels, selectivity
from stratoscope.probes.linear.logistic import LogisticFit, fit_logistic
from stratoscope.probes.linear.online_probe import OnlineProbe
from stratoscope.probes.linear.probing import LayerScores, probe
from stratoscope.probes.linear.ridge_regression import RidgeFit, best_left_out, fit_ridge
from stratoscope.probes.linear.separability import (
    HELD_OUT,
    LabelledFeatures,
    Separability,
    failed,
    separability,
    with_label,
)
from stratoscope.probes.reading.batches import LabelledBatch, UnreadableBatch, read_batch
from stratoscope.probes.reading.calls import Call, choose_call, find_call, logits_of
from stratoscope.probes.reading.isolation import frozen
from stratoscope.probes.reading.layout import Layout
from stratoscope.probes.reading.reduction import LayerReduction, Reduction, average_pool, by_layer, reduction
from stratoscope.probes.reading.sharding import FailedTogether, Shard
from stratoscope.probes.reading.standardisation import Standardisation
from stratoscope.probes.reading.storage import room
from stratoscope.probes.reading.taps import Tap, find_taps, read_features, select_taps
from stratoscope.probes.statistics.bands import bootstrap_band
from stratoscope.probes.statistics.comparison import Comparison, compare
from stratoscope.probes.statistics.interval import wilson

__all__ = [
    "GIB",
    "HELD_OUT",
    "Arrangement",
    "Budget",
    "Call",
    "Comparison",
    "FailedTogether",
    "LabelledBatch",
    "LabelledFeatures",
    "LayerReduction",
    "LayerScores",
    "Layout",
    "LogisticFit",
    "NeuralCollapse",
    "OnlineProbe",
    "Reduction",
    "RidgeFit",
    "Separability",
    "Shard",
    "Standardisation",
    "Tap",
    "UnreadableBatch",
    "average_pool",
    "best_left_out",
    "bootstrap_band",
    "by_layer",
    "choose_call",
    "classifier_weights",
    "compare",
    "control_labels",
    "effective_rank",
    "failed",
    "find_call",
    "find_taps",
    "fit_logistic",
    "fit_ridge",
    "frozen",
    "linear_cka",
    "logits_of",
    "neighbour_accuracy",
    "neural_collapse",
    "participation_ratio",
    "probe",
    "read_batch",
    "read_features",
    "reduction",
    "room",
    "select_taps",
    "selectivity",
    "separability",
    "spectrum",
    "wilson",
    "with_label",
]
