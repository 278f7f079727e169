"""Deep residual networks (He et al. 2015, https://arxiv.org/abs/1512.03385), for large and small pictures.

Tensors are declared in torchvision's order (timm's `resnetv2` where `preact`), so that published weights load by order.
"""

from typing import Any, Literal

import torch
from torch import nn

from kit.models.blocks import BLOCKS, Block, BlockOptions, Shortcut, StrideAt, conv3x3

Stem = Literal["imagenet", "small", "deep"]
Init = Literal["kaiming", "xavier"]
BASE_CHANNELS = (64, 128, 256, 512)


class ResNet(nn.Module):
    """stem -> four stages -> mean over the map -> one linear layer.

    Args:
        blocks: blocks in each stage.
        bottleneck: 1x1, 3x3, 1x1 blocks of four times the channels, instead of two 3x3.
        num_classes: width of the logits; 0 gives the features (N, feature_dim) instead.
        in_channels: of the picture.
        stem: `imagenet` is 7x7 with stride 2 and a max pool, the map a quarter of the picture; `deep` the same with
            three 3x3 (ResNet-D); `small` is 3x3 with stride 1, the map as large as the picture, for pictures of 28 to
            64 px.
        width: multiplies every stage's channels (64, 128, 256, 512; times four behind a bottleneck).
        preact: norm and ReLU before each convolution (He et al. 2016, https://arxiv.org/abs/1603.05027), and once more
            after the last block, whose output would otherwise be a sum that nothing normalised.
        stride_at: which convolution of a bottleneck strides: `1x1` as in the paper, `3x3` as in torchvision (v1.5).
        shortcut: where the map's shape changes: a 1x1 `projection`, or `average`, with pooling before it.
        squeeze_excitation: weigh each block's channels by their mean over the map.
        drop_path: the last block's rate of stochastic depth; it rises linearly from 0 at the first block.
        dropout: on the features.
        zero_init_last: each block starts as its shortcut (https://arxiv.org/abs/1706.02677, 5.1).
        init: of convolutions: `kaiming` (normal, fan out) or `xavier` (uniform; the linear layer too)."""

    head_names = ("fc",)

    def __init__(
        self, blocks: tuple[int, int, int, int], bottleneck: bool, num_classes: int, in_channels: int = 3,
        stem: Stem = "imagenet", width: float = 1.0, preact: bool = False, stride_at: StrideAt = "3x3",
        shortcut: Shortcut = "projection", squeeze_excitation: bool = False, drop_path: float = 0.0,
        dropout: float = 0.0, zero_init_last: bool = True, init: Init = "kaiming",
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [max(8, round(base * width)) for base in BASE_CHANNELS]
        self.conv1 = _stem(stem, in_channels, channels[0])
        self.bn1 = nn.Identity() if preact else nn.BatchNorm2d(channels[0])
        self.relu = nn.Identity() if preact else nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, padding=1)
        block = BLOCKS[bottleneck, preact]
        options = BlockOptions(stride_at, shortcut, squeeze_excitation)
        rates = [drop_path * place / (sum(blocks) - 1) for place in range(sum(blocks))]
        incoming, stages = channels[0], []
        for number, count in enumerate(blocks):
            stage = []
            for place in range(count):
                stride = 2 if number > 0 and place == 0 else 1
                stage.append(block(incoming, channels[number], stride, options, rates.pop(0)))
                incoming = channels[number] * block.expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.norm = nn.Sequential(nn.BatchNorm2d(incoming), nn.ReLU(inplace=True)) if preact else nn.Identity()
        self.feature_dim = incoming
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(incoming, num_classes) if num_classes else nn.Identity()
        self._initialise(init, zero_init_last)

    def _initialise(self, init: Init, zero_init_last: bool) -> None:
        for module in self.modules():
            if init == "xavier" and isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if zero_init_last and isinstance(module, Block):
                module.zero_init_last()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> the last map (N, feature_dim, h, w)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.norm(x)

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """The last map -> logits (N, num_classes)."""
        return self.fc(self.dropout(x.mean(dim=(2, 3))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters form a layer, for layer-wise learning rates (timm's convention)."""
        blocks = r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"
        return {"stem": r"^(?:conv1|bn1)", "blocks": [(blocks, None), (r"^norm", (99999,))]}


def _stem(stem: Stem, in_channels: int, channels: int) -> nn.Module:
    """What comes before the first norm (`bn1`), or, where `preact`, before the first block."""
    if stem == "small":
        return conv3x3(in_channels, channels)
    if stem == "imagenet":
        return nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False)
    half = channels // 2
    return nn.Sequential(
        conv3x3(in_channels, half, 2), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
        conv3x3(half, half), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
        conv3x3(half, channels),
    )  # fmt: skip
