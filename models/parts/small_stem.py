"""Stems for small images, of networks that were made for ImageNet (He et al. 2016, section 4.2, for CIFAR-10)."""

from typing import Any

from torch import nn

# what a small stem changes, by the class of the network: the max-pool that goes, and the kernel size of the first
# convolution, which gets stride 1 (None keeps it)
STEMS: dict[str, tuple[str | None, int | None]] = {
    "ResNet": ("maxpool", 3),
    "DenseNet": ("features.pool0", 3),
    "ShuffleNetV2": ("maxpool", None),
    "MobileNetV2": (None, None),
    "MobileNetV3": (None, None),
    "EfficientNet": (None, None),
    "MNASNet": (None, None),
    "RegNet": (None, None),
    "VGG": (None, None),  # stride 1 as it is
}


def adapt_stem(network: nn.Module, name: str, small_images: bool, channels: int) -> None:
    """Give the first convolution another number of input channels, and make the stem one for small images, in place.

    A new convolution is drawn as in He et al. 2015 (normal, fan-out), like those of torchvision's ResNets.

    Args:
        network: The network.
        name: Its name, for the message.
        small_images: Whether the stem is changed as `STEMS` says.
        channels: Channels of the images.

    Raises:
        ValueError: If no stem for small images is known, or the network does not begin with a plain convolution.
    """
    convolutions = [(place, part) for place, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    kind = type(network).__name__
    if not convolutions or (small_images and kind not in STEMS):
        raise ValueError(
            f"no stem for small images is known for {name} ({kind}), only for {', '.join(STEMS)}: "
            "set small_images to false"
        )
    place, old = convolutions[0]
    shape: dict[str, Any] = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding}
    if small_images:
        pool, kernel = STEMS[kind]
        shape["stride"] = (1, 1)
        if kernel is not None:
            shape |= {"kernel_size": (kernel, kernel), "padding": (kernel // 2, kernel // 2)}
        if pool is not None:
            network.set_submodule(pool, nn.Identity())
    if shape["kernel_size"] == old.kernel_size and channels == old.in_channels:
        old.stride = shape["stride"]  # as trained weights may fit
        return
    new = nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **shape)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(place, new)
