"""Deep residual networks (He et al. 2015, https://arxiv.org/abs/1512.03385), for large and for small pictures.

Tensors are declared in torchvision's order, so that published weights load by order.
"""

from typing import Any, Literal

import torch
from torch import nn

Stem = Literal["imagenet", "small"]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, C, H, W) -> (N, channels, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class ResNet(nn.Module):
    """stem -> four stages -> mean over the map -> one linear layer.

    Args:
        blocks: blocks in each stage.
        num_classes: width of the logits; 0 gives the features (N, feature_dim) instead.
        in_channels: of the picture.
        stem: `imagenet` is 7x7 with stride 2 and a max pool, the map a quarter of the picture; `small` is 3x3 with
            stride 1, the map as large as the picture, for pictures of 32 to 64 px.
        width: multiplies every stage's channels (64, 128, 256, 512).
        zero_init_last: each block starts as its shortcut (https://arxiv.org/abs/1706.02677, 5.1).
        dropout: on the features.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        width: float = 1.0,
        zero_init_last: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = [max(8, round(base * width)) for base in (64, 128, 256, 512)]
        large = stem == "imagenet"
        self.conv1 = (
            nn.Conv2d(in_channels, channels[0], 7, 2, padding=3, bias=False)
            if large
            else conv3x3(in_channels, channels[0])
        )
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        self.layer1 = self._stage(channels[0], channels[0], blocks[0], stride=1)
        self.layer2 = self._stage(channels[0], channels[1], blocks[1], stride=2)
        self.layer3 = self._stage(channels[1], channels[2], blocks[2], stride=2)
        self.layer4 = self._stage(channels[2], channels[3], blocks[3], stride=2)
        self.feature_dim = channels[3]
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[3], num_classes) if num_classes else nn.Identity()
        self._initialise(zero_init_last)

    @staticmethod
    def _stage(in_channels: int, channels: int, num_blocks: int, stride: int) -> nn.Sequential:
        rest = [BasicBlock(channels, channels, 1) for _ in range(num_blocks - 1)]
        return nn.Sequential(BasicBlock(in_channels, channels, stride), *rest)

    def _initialise(self, zero_init_last: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock) and zero_init_last:
                nn.init.zeros_(module.bn2.weight)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> the last map (N, feature_dim, h, w)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """The last map -> logits (N, num_classes)."""
        return self.fc(self.dropout(x.mean(dim=(2, 3))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def resnet18(num_classes: int, **options: Any) -> ResNet:
    return ResNet((2, 2, 2, 2), num_classes, **options)


def resnet34(num_classes: int, **options: Any) -> ResNet:
    return ResNet((3, 4, 6, 3), num_classes, **options)
