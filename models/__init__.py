"""Architectures: in every file a plain nn.Module and the LightningModule around it."""

from stratoscope.models.alexnet import AlexNet, alexnet
from stratoscope.models.cifar_resnet import CifarResNet, cifar_resnet
from stratoscope.models.keskar import KeskarC1, KeskarC2, KeskarF1, keskar_c1, keskar_c2, keskar_f1
from stratoscope.models.mlp import MLP, mlp
from stratoscope.models.mnist_convnet import MNISTConvNet, mnist_convnet
from stratoscope.models.neelakantan import NeelakantanMLP
from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.local_response_norm import LocalResponseNorm, local_response_norm
from stratoscope.models.resnet import ResNet, resnet
from stratoscope.models.skip_mlp import SkipMLP, SkipNetwork
from stratoscope.models.small_alexnet import SmallAlexNet, small_alexnet
from stratoscope.models.small_inception import SmallInception, small_inception
from stratoscope.models.timm_classifier import TimmClassifier, timm_network
from stratoscope.models.torchvision_classifier import TorchvisionClassifier, torchvision_network
from stratoscope.models.urban import UrbanConvNet, urban_convnet
from stratoscope.models.vgg import VGG, vgg
from stratoscope.models.wide_resnet import WideResNet, wide_resnet

__all__ = [
    "MLP",
    "VGG",
    "AlexNet",
    "CifarResNet",
    "Classifier",
    "KeskarC1",
    "KeskarC2",
    "KeskarF1",
    "LocalResponseNorm",
    "MNISTConvNet",
    "NeelakantanMLP",
    "ResNet",
    "SkipMLP",
    "SkipNetwork",
    "SmallAlexNet",
    "SmallInception",
    "TimmClassifier",
    "TorchvisionClassifier",
    "UrbanConvNet",
    "WideResNet",
    "alexnet",
    "cifar_resnet",
    "initialise",
    "keskar_c1",
    "keskar_c2",
    "keskar_f1",
    "local_response_norm",
    "mlp",
    "mnist_convnet",
    "resnet",
    "small_alexnet",
    "small_inception",
    "timm_network",
    "torchvision_network",
    "urban_convnet",
    "vgg",
    "wide_resnet",
]
