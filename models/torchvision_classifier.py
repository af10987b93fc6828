"""Any classification network of torchvision, with a stem for small images, and weights from local files."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.small_stem import adapt_stem
from stratoscope.models.parts.weights import load_what_fits
from stratoscope.models.schedules import DividedAt

RESNET_TAPS = ("relu", "maxpool", "layer?.?", "layer?.??", "avgpool", "fc")  # layer3.0, layer3.10: outputs of blocks


def torchvision_network(
    name: str = "resnet18",
    small_images: bool = True,
    pretrained: bool = False,
    classes: int = 10,
    channels: int = 3,
    weights_file: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a network of torchvision; the arguments are those of `TorchvisionClassifier`.

    Returns:
        The network, for images (n, channels, height, width). ResNets name the outputs of stem, blocks, pooling and
        final layer as natural taps; elsewhere all leaf modules are.

    Raises:
        ValueError: If there is no such network, stem or file, or a size is out of range.
    """
    from torchvision import models  # here, as it is slow to import

    if min(classes, channels) < 1:
        raise ValueError(f"classes and channels must be 1 or more; got classes {classes}, channels {channels}")
    names = models.list_models(module=models)
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.3) or names[:8]
        raise ValueError(f"torchvision has no classification model {name!r}; near: {', '.join(near)}")
    if pretrained and weights_file is None:
        known: Any = models.get_model_weights(name)
        weights_file = _cached(known.DEFAULT.url, name)
    settings: dict[str, Any] = {"num_classes": classes}
    if name in {"googlenet", "inception_v3"}:
        # no auxiliary heads, so that training gives one tensor; pretrained, they expect their own input scale
        settings |= {
            "aux_logits": False,
            "init_weights": weights_file is None,
            "transform_input": weights_file is not None,
        }
    network: Any = models.get_model(name, weights=None, **settings | dict(options or {}))
    adapt_stem(network, name, small_images, channels)
    if type(network).__name__ == "ResNet":
        network.natural_taps = (
            RESNET_TAPS if not small_images else tuple(tap for tap in RESNET_TAPS if tap != "maxpool")
        )
    if weights_file is not None:
        load_what_fits(network, weights_file)
    return network  # type: ignore[no-any-return]


def _cached(url: str, name: str) -> str:
    """The place of a file in torch's cache, which must be there: nothing is downloaded.

    Raises:
        ValueError: If it is not there.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        raise ValueError(f"no file has the weights of {name}, and nothing is downloaded: put {url} at {path}")
    return str(path)


class TorchvisionClassifier(Classifier):
    """Any classification network of torchvision (`torchvision.models.list_models`).

    For small images the stem is changed: ResNets (ResNeXt and wide ones too) and DenseNets get a first convolution 3x3
    with stride 1 (He et al. 2016, section 4.2, for CIFAR-10) and no max-pool; ShuffleNetV2 a first stride of 1 and no
    max-pool; MobileNetV2 and V3, EfficientNet, MNASNet and RegNet a first stride of 1; VGG stays as it is. Other
    networks have no such stem here, and are refused with it.

    Args:
        name: The network's name in torchvision.
        small_images: Whether the stem is changed for images of some 32x32.
        pretrained: Whether to load torchvision's default weights for ImageNet from $TORCH_HOME/hub/checkpoints, where
            the file must lie; they expect `--data.normalisation imagenet`.
        classes: Number of classes.
        channels: Channels of the images.
        weights_file: A local file to load: a state dict, or a checkpoint that has one. The first layer and the last may
            be of another size: what does not fit there is named in a warning and left out.
        options: Further arguments of torchvision's function, such as {dropout: 0.1}.
        resize: Height and width to which the images are resized first (bilinear), such as 224 for a network that was
            trained on ImageNet; null for none.
        optimizer: Optimiser; SGD, learning rate 0.1, momentum 0.9, weight decay 1e-4 in He et al. 2016, section 4.2.
        scheduler: Learning-rate schedule; a factor of 0.1 after epochs 82 and 123 (of 164), the
            32,000 and 48,000 steps (of 64,000) of He et al. 2016 at batches of 128.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        name: str = "resnet18",
        small_images: bool = True,
        pretrained: bool = False,
        classes: int = 10,
        channels: int = 3,
        weights_file: str | None = None,
        options: dict[str, Any] | None = None,
        resize: int | None = None,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=82, second=123),
        **switches: Any,
    ) -> None:
        if (pretrained or weights_file is not None) and switches.get("initialisation", "as_built") != "as_built":
            raise ValueError("initialisation must be as_built with loaded weights, which it would overwrite")
        network = torchvision_network(name, small_images, pretrained, classes, channels, weights_file, options)
        if resize is not None and resize < 1:
            raise ValueError(f"resize must be 1 pixel or more, or null for none; got {resize}")
        super().__init__(network, optimizer, scheduler, **switches)
        self.resize = resize

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (n, classes) of a batch of images, resized if that is asked for."""
        if self.resize is not None:
            image = interpolate(image, size=(self.resize, self.resize), mode="bilinear", antialias=True)
        return super().forward(image)
