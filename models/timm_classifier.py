"""Any classification network of timm, an optional extra, with a stem for small images, and weights from local files."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.small_stem import adapt_stem
from stratoscope.models.parts.weights import load_what_fits
from stratoscope.models.schedules import DividedAt

RESNET_TAPS = ("act1", "layer?.?", "layer?.??", "global_pool", "fc")  # layer3.0, layer3.10: outputs of blocks


def timm_network(
    name: str = "resnet18",
    small_images: bool = True,
    pretrained: bool = False,
    classes: int = 10,
    channels: int = 3,
    weights_file: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a network of timm; the arguments are those of `TimmClassifier`.

    Returns:
        The network, for images (n, channels, height, width). ResNets name the outputs of stem, blocks, pooling and
        final layer as natural taps; elsewhere all leaf modules are.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If there is no such network, stem or file, or a size is out of range.
    """
    try:
        timm = import_module("timm")
    except ModuleNotFoundError as error:
        raise ImportError("timm is not installed: pip install 'stratoscope[timm]'") from error
    if min(classes, channels) < 1:
        raise ValueError(f"classes and channels must be 1 or more; got classes {classes}, channels {channels}")
    if not timm.is_model(name):
        names = timm.list_models()
        near = get_close_matches(name, names, n=3, cutoff=0.3) or names[:8]
        raise ValueError(f"timm has no model {name!r}; near: {', '.join(near)}")
    if pretrained and weights_file is None:
        weights_file = _cached(name)
    network = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **dict(options or {}))
    if small_images:
        adapt_stem(network, name, small_images, channels)
    if type(network).__name__ == "ResNet":
        network.natural_taps = RESNET_TAPS
    if weights_file is not None:
        load_what_fits(network, weights_file)
    return network  # type: ignore[no-any-return]


def _cached(name: str) -> str:
    """The place of the default weights in Hugging Face's cache, which must be there: nothing is downloaded.

    Raises:
        ValueError: If it is not there.
    """
    hub = import_module("huggingface_hub")
    home = import_module("timm").models.get_pretrained_cfg(name).hf_hub_id
    if home is None:
        raise ValueError(f"timm names no weights of {name}: give a weights_file")
    path = hub.try_to_load_from_cache(home, "model.safetensors")
    if not isinstance(path, str):
        raise ValueError(
            f"no file has the weights of {name}, and nothing is downloaded: run "
            f"`hf download {home} model.safetensors`, or give that file "
            f"of https://huggingface.co/{home} as weights_file"
        )
    return path


class TimmClassifier(Classifier):
    """Any classification network of timm (`timm.list_models`); needs the extra: pip install 'stratoscope[timm]'.

    For small images the stem is changed as in `TorchvisionClassifier`: ResNets and DenseNets get a first convolution
    3x3 with stride 1 and no max-pool, EfficientNet (MobileNetV2 among them), MobileNetV3 and RegNet a first stride of
    1; VGG stays as it is. Other networks have no such stem here, and are refused with it: set small_images to false,
    and for a vision transformer options to {img_size: 32, patch_size: 4}.

    Args:
        name: The network's name in timm.
        small_images: Whether the stem is changed for images of some 32x32.
        pretrained: Whether to load timm's default weights from Hugging Face's cache, where the file must lie.
        classes: Number of classes.
        channels: Channels of the images.
        weights_file: A local file of a state dict (of torch or safetensors) to load; what does not fit is named in a
            warning and left out.
        options: Further arguments of `timm.create_model`, such as {drop_path_rate: 0.1}.
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
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=82, second=123),
        **switches: Any,
    ) -> None:
        if (pretrained or weights_file is not None) and switches.get("initialisation", "as_built") != "as_built":
            raise ValueError("initialisation must be as_built with loaded weights, which it would overwrite")
        network = timm_network(name, small_images, pretrained, classes, channels, weights_file, options)
        super().__init__(network, optimizer, scheduler, **switches)
