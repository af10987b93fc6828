"""Vision networks: transformers, channels-last layers, skips, volumes, signals, many classes, experts."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer
from torchvision.ops import StochasticDepth

from tests.callbacks.modules_of_others.case import Case, Theirs, drawn, pictures, vectors


class Vision(Theirs):
    """A network of torchvision's in somebody's module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, image: Tensor) -> Any:
        """Logits."""
        return self.network(image)


def vit() -> Vision:
    """A vision transformer: 16 tokens and the class token, 8 channels."""
    return Vision(VisionTransformer(16, 4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3))


def vit_tokens(module: Any, x: Tensor) -> dict[str, Tensor]:
    """Tokens (n, 17, 8) before and after the block, and its attention's."""
    net = module.network
    tokens = net.conv_proj(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.class_token.expand(len(x), -1, -1), tokens], 1) + net.encoder.pos_embedding
    block = net.encoder.layers.encoder_layer_0
    normal = block.ln_1(tokens)
    attended, _ = block.self_attention(normal, normal, normal, need_weights=False)
    between = tokens + attended
    return {
        "network.encoder.layers.encoder_layer_0.ln_1": normal,
        "network.encoder.layers.encoder_layer_0.self_attention": attended,
        "network.encoder.ln": net.encoder.ln(between + block.mlp(block.ln_2(between))),
    }


def token_means(module: Any, x: Tensor) -> dict[str, Tensor]:
    """The mean over tokens."""
    return {layer: tokens.mean(1) for layer, tokens in vit_tokens(module, x).items()}


def class_tokens(module: Any, x: Tensor) -> dict[str, Tensor]:
    """The first token."""
    return {layer: tokens[:, 0] for layer, tokens in vit_tokens(module, x).items()}


def swin() -> Vision:
    """A Swin transformer: activations (n, 4, 4, 8), channels last."""
    sizes: dict[str, Any] = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    return Vision(SwinTransformer(**sizes, window_size=[2, 2], stochastic_depth_prob=0.2, num_classes=3))


def swin_maps(module: Any, x: Tensor) -> dict[str, Tensor]:
    """Feature maps, as (n, channels, height, width)."""
    first, merging, last = module.network.features[1], module.network.features[2], module.network.features[3]
    patches = module.network.features[0](x)
    block = first[0]
    maps = {"network.features.0": patches, "network.features.1.0.norm1": block.norm1(patches)}
    maps["network.features.2.reduction"] = merging(first(patches))
    maps["network.norm"] = module.network.norm(last(maps["network.features.2.reduction"]))
    return {layer: rows.permute(0, 3, 1, 2) for layer, rows in maps.items() if layer != "network.features.0"}


def means(module: Any, x: Tensor) -> dict[str, Tensor]:
    """One mean per channel."""
    return {layer: maps.mean((2, 3)) for layer, maps in swin_maps(module, x).items()}


def grids(module: Any, x: Tensor) -> dict[str, Tensor]:
    """2 x 2 means per channel of the 8 there are first, one of the 16 later: 32 features fit."""
    pools = {8: 2, 16: 1}
    maps = swin_maps(module, x)
    return {
        layer: functional.adaptive_avg_pool2d(rows, pools[rows.shape[1]]).flatten(1) for layer, rows in maps.items()
    }


def convnext() -> Vision:
    """A ConvNeXt: convolutions of (n, channels, ...), then LayerNorm and Linear of (n, ..., channels)."""
    return Vision(ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], 0.2, num_classes=3))


def convnext_means(module: Any, x: Tensor) -> dict[str, Tensor]:
    """One mean per channel, whatever the layout."""
    stem = module.network.features[0](x)
    block = module.network.features[1][0].block
    wide = block[3](block[2](block[1](block[0](stem))))
    return {
        "network.features.0.1": stem.mean((2, 3)),
        "network.features.1.0.block.2": block[2](block[1](block[0](stem))).mean((1, 2)),
        "network.features.1.0.block.3": wide.mean((1, 2)),
        "network.features.1.0.block.5": block[5](block[4](wide)).mean((1, 2)),
    }


class UNet(Theirs):
    """Down, up, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up, self.head = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        """A map of logits, its mean."""
        skip = torch.relu(self.down(image))
        up = self.up(torch.relu(self.deep(skip)))
        logits: Tensor = self.head(torch.cat([skip, up], 1))
        return logits.mean((2, 3))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The same once more."""
        skip = self.down(x).relu()
        deep = self.deep(skip)
        head = functional.conv2d(torch.cat([skip, self.up(deep.relu())], 1), self.head.weight, self.head.bias)
        return {"down": self.down(x).flatten(1), "deep": deep.flatten(1), "head": head.flatten(1)}


class Convolutions(Theirs):
    """One convolution over a signal or a volume."""

    def __init__(self, kind: type[nn.Conv1d] | type[nn.Conv3d]) -> None:
        super().__init__()
        self.convolution, self.head = kind(1, 6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(torch.relu(self.convolution(x)).flatten(2).mean(2))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """One mean per channel."""
        maps = self.convolution(x)
        return {"convolution": maps.flatten(2).mean(2), "head": self.head(maps.relu().flatten(2).mean(2))}


class Deep(Theirs):
    """A branch that training drops at random, one activation used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.branch, self.head = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.relu, self.depth = nn.ReLU(), StochasticDepth(0.5, "row")

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        x = self.relu(self.first(x))
        return self.head(self.relu(x + self.depth(self.branch(x))))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Nothing is dropped."""
        first = self.first(x).clamp(min=0)
        second = (first + self.branch(first)).clamp(min=0)
        return {"relu": first, "relu#2": second, "head": self.head(second)}


class Experts(Theirs):
    """A router that sends every sample to one of three experts: an expert sees some of the samples, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(12, 3), nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Linear(12, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        weight, chosen = self.router(x).softmax(1).max(1)
        mixed = torch.zeros(len(x), 8)
        for number, expert in enumerate(self.experts):
            if (mine := chosen == number).any():
                mixed[mine] = expert(x[mine]) * weight[mine, None]
        return self.head(mixed)

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """One sample at a time."""
        rows = []
        for row in x:
            weight, chosen = self.router(row).softmax(0).max(0)
            rows.append(weight * self.experts[int(chosen)](row))
        return {"router": self.router(x), "head": self.head(torch.stack(rows))}


class Thousand(Theirs):
    """A thousand classes, of which 48 occur."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(16, 6), nn.Linear(6, 1000)

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(self.hidden(x))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """All but the logits, whose fit would take most of the test's time."""
        return {"input": x, "hidden": self.hidden(x)}


def thousand(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Labels from 0 to 987."""
    x, _ = drawn((16,), samples, seed)
    return x, torch.arange(samples) % 48 * 21


LONG = {"data": partial(drawn, (1, 64)), "options": {"reduction": "channel_means"}}
VOLUME = {**LONG, "data": partial(drawn, (1, 5, 5, 5))}
# a fit of every layer would take most of the test's time
VIT = {"taps": ["*.ln_1", "*.self_attention", "*.ln", "*.head"]}
SWIN = {"taps": ["network.features.1.0.norm1", "network.features.2.*", "network.norm"]}
CONVNEXT = {"taps": ["network.features.0.1", "network.features.1.0.block.*"], "reduction": "channel_means"}
CASES = [
    Case("vit, token means", vit, token_means, data=pictures, options={**VIT, "reduction": "token_mean"}),
    Case("vit, class tokens", vit, class_tokens, data=pictures, options={**VIT, "reduction": "cls"}),
    Case("vit, narrow width", vit, token_means, data=pictures, options={**VIT, "width": 64}),
    Case("swin, channel means", swin, means, data=pictures, options={**SWIN, "reduction": "channel_means"}),
    Case("swin, average pool", swin, grids, data=pictures, options={**SWIN, "width": 32}),
    Case("convnext, channel means", convnext, convnext_means, data=pictures, options=CONVNEXT),
    Case("u-net", UNet),
    Case("1-d convolution", partial(Convolutions, nn.Conv1d), **LONG),  # type: ignore[arg-type]
    Case("3-d convolution", partial(Convolutions, nn.Conv3d), **VOLUME),  # type: ignore[arg-type]
    Case("stochastic depth", Deep, data=vectors),
    Case("mixture of experts", Experts, data=vectors),
    Case("1,000 classes", Thousand, data=thousand, options={"taps": ["input", "hidden"]}),
]
