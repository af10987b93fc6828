"""Wiring: when an instrument runs during training, and where its results go."""

from stratoscope.callbacks.exact_resume import ExactResume
from stratoscope.callbacks.finite_loss import FiniteLoss
from stratoscope.callbacks.human_uncertainty import HumanUncertainty
from stratoscope.callbacks.linear_probes import LinearProbes
from stratoscope.callbacks.online_probes import OnlineProbes
from stratoscope.callbacks.predictions import Predictions
from stratoscope.callbacks.pretrained import Pretrained

__all__ = ["ExactResume", "FiniteLoss", "HumanUncertainty", "LinearProbes", "OnlineProbes", "Predictions", "Pretrained"]
