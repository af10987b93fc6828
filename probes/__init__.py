"""Instruments: what can be measured on a frozen network. Pure PyTorch: no Lightning, no files, no logging."""

from stratoscope.probes.bands import bootstrap_band
from stratoscope.probes.batches import LabelledBatch, UnreadableBatch, read_batch
from stratoscope.probes.calls import Call, choose_call, find_call, logits_of
from stratoscope.probes.collapse import NeuralCollapse, classifier_weights, neural_collapse
from stratoscope.probes.comparison import Comparison, compare
from stratoscope.probes.control import control_labels, selectivity
from stratoscope.probes.interval import wilson
from stratoscope.probes.isolation import frozen
from stratoscope.probes.layout import Layout
from stratoscope.probes.logistic import LogisticFit, fit_logistic
from stratoscope.probes.neighbours import neighbour_accuracy
from stratoscope.probes.online_probe import OnlineProbe
from stratoscope.probes.probing import probe
from stratoscope.probes.rank import effective_rank, participation_ratio, spectrum
from stratoscope.probes.reduction import LayerReduction, Reduction, average_pool, by_layer, reduction
from stratoscope.probes.ridge_regression import RidgeFit, best_left_out, fit_ridge
from stratoscope.probes.separability import HELD_OUT, LabelledFeatures, Separability, failed, separability, with_label
from stratoscope.probes.sharding import FailedTogether, Shard
from stratoscope.probes.similarity import Arrangement, linear_cka
from stratoscope.probes.standardisation import Standardisation
from stratoscope.probes.storage import GIB, Budget, room
from stratoscope.probes.taps import Tap, find_taps, read_features, select_taps

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
