"""Wiring: when an instrument runs during training, and where its results go."""

from stratoscope.callbacks.controls.pretrained import Pretrained
from stratoscope.callbacks.guards.exact_resume import ExactResume
from stratoscope.callbacks.guards.finite_loss import FiniteLoss
from stratoscope.callbacks.instruments.distances import Distances
from stratoscope.callbacks.instruments.human_uncertainty import HumanUncertainty
from stratoscope.callbacks.instruments.linear_probes import LinearProbes
from stratoscope.callbacks.instruments.loss_path import LossPath
from stratoscope.callbacks.instruments.online_probes import OnlineProbes
from stratoscope.callbacks.instruments.predictions import Predictions
from stratoscope.callbacks.progress.run_progress_bar import RunProgressBar

__all__ = [
    "Distances",
    "ExactResume",
    "FiniteLoss",
    "HumanUncertainty",
    "LinearProbes",
    "LossPath",
    "OnlineProbes",
    "Predictions",
    "Pretrained",
    "RunProgressBar",
]
