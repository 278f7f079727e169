"""The residual blocks of `resnet`: after He et al. 2015 (post-activation) and 2016 (pre-activation), with and without a
bottleneck. Every block maps (N, in_channels, H, W) to (N, channels * expansion, H / stride, W / stride).

A post-activation block declares its tensors in torchvision's order, a pre-activation one in timm's (`resnetv2`)."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

StrideAt = Literal["1x1", "3x3"]
Shortcut = Literal["projection", "average"]


@dataclass(frozen=True)
class BlockOptions:
    """What all blocks of a network share; see `resnet.ResNet`."""

    stride_at: StrideAt = "3x3"
    shortcut: Shortcut = "projection"
    squeeze_excitation: bool = False


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, options: BlockOptions, drop_path: float) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = _squeeze_excitation(channels, options)
        self.downsample = _shortcut(in_channels, channels, stride, options, norm=True)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.se(self.bn2(self.conv2(x)))
        return self.relu(self.drop_path(x) + shortcut)

    def zero_init_last(self) -> None:
        nn.init.zeros_(self.bn2.weight)


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many; the last ReLU comes after the sum."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, options: BlockOptions, drop_path: float) -> None:
        super().__init__()
        first, second = _strides(stride, options)
        self.conv1 = conv1x1(in_channels, channels, first)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, second)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.se = _squeeze_excitation(channels * self.expansion, options)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride, options, norm=True)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.se(self.bn3(self.conv3(x)))
        return self.relu(self.drop_path(x) + shortcut)

    def zero_init_last(self) -> None:
        nn.init.zeros_(self.bn3.weight)


class PreActBasicBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions; nothing after the sum, so the shortcut path is an identity."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, options: BlockOptions, drop_path: float) -> None:
        super().__init__()
        self.downsample = _shortcut(in_channels, channels, stride, options, norm=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.se = _squeeze_excitation(channels, options)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(active)  # a projection sees the activated map
        x = self.conv1(active)
        x = self.conv2(self.relu(self.bn2(x)))
        return self.drop_path(self.se(x)) + shortcut

    def zero_init_last(self) -> None:
        nn.init.zeros_(self.conv2.weight)


class PreActBottleneck(nn.Module):
    """Norm and ReLU before each of the 1x1, 3x3 and 1x1 convolutions (He et al. 2016, figure 4e)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, options: BlockOptions, drop_path: float) -> None:
        super().__init__()
        first, second = _strides(stride, options)
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride, options, norm=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, channels, first)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, second)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.se = _squeeze_excitation(channels * self.expansion, options)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        x = self.conv1(active)
        x = self.conv2(self.relu(self.bn2(x)))
        x = self.conv3(self.relu(self.bn3(x)))
        return self.drop_path(self.se(x)) + shortcut

    def zero_init_last(self) -> None:
        nn.init.zeros_(self.conv3.weight)


Block = BasicBlock | Bottleneck | PreActBasicBlock | PreActBottleneck
BLOCKS: dict[tuple[bool, bool], type[Block]] = {  # (bottleneck, preact)
    (False, False): BasicBlock, (True, False): Bottleneck,
    (False, True): PreActBasicBlock, (True, True): PreActBottleneck,
}  # fmt: skip


def _strides(stride: int, options: BlockOptions) -> tuple[int, int]:
    """Strides of the first 1x1 and of the 3x3: the paper strides the 1x1 (v1), torchvision the 3x3 (v1.5)."""
    return (stride, 1) if options.stride_at == "1x1" else (1, stride)


def _shortcut(in_channels: int, channels: int, stride: int, options: BlockOptions, norm: bool) -> nn.Module | None:
    """`None` where the input can be added as it is; else a 1x1 projection, with `average` preceded by pooling where it
    strides (ResNet-D, https://arxiv.org/abs/1812.01187), so that no pixel is skipped."""
    if stride == 1 and in_channels == channels:
        return None
    pooled = options.shortcut == "average" and stride > 1
    pool = [nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)] if pooled else []
    projection = conv1x1(in_channels, channels, 1 if pooled else stride)
    norms = [nn.BatchNorm2d(channels)] if norm else []
    return nn.Sequential(*pool, projection, *norms)


def _squeeze_excitation(channels: int, options: BlockOptions) -> nn.Module:
    """Channels weighted by the content of the whole map (https://arxiv.org/abs/1709.01507)."""
    if not options.squeeze_excitation:
        return nn.Identity()
    from torchvision.ops import SqueezeExcitation  # takes two seconds to load

    return SqueezeExcitation(channels, max(8, channels // 16))


def _drop_path(rate: float) -> Any:
    """Stochastic depth (https://arxiv.org/abs/1603.09382): in training, drops the branch for a share of images."""
    if rate <= 0:
        return nn.Identity()
    from torchvision.ops import StochasticDepth  # takes two seconds to load

    return StochasticDepth(rate, mode="row")
