"""Architectures: in every file a plain nn.Module and the LightningModule around it."""

from stratoscope.models.classifier import Classifier
from stratoscope.models.mlp import MLP, mlp
from stratoscope.models.small_alexnet import SmallAlexNet, small_alexnet

__all__ = ["MLP", "Classifier", "SmallAlexNet", "mlp", "small_alexnet"]
