"""VGG with batch norm (Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556).

Tensors are declared in torchvision's order, convolutions with bias, so that published weights load by order."""

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

Head = Literal["classic", "gap"]
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
BASE_CHANNELS = (64, 128, 256, 512, 512)
HIDDEN, GRID = 4096, 7  # of the classic head: width of its two hidden layers, pixels a side of the map it sees


class Halve(nn.Module):
    """2x2 max pooling; a map of one pixel passes unchanged, so that pictures below 32 px work."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if min(x.shape[-2:]) < 2 else F.max_pool2d(x, 2)


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each halving the map, and a head; any input size.

    Args:
        depth: 11, 13, 16 or 19 layers with weights.
        num_classes: width of the logits; 0 gives the features (N, feature_dim) instead.
        in_channels: of the picture.
        width: multiplies every stage's channels (64, 128, 256, 512, 512) and the classic head's hidden 4096.
        head: `classic` averages the map to 7x7 and has two hidden layers; `gap` averages it to one pixel, then one
            linear layer.
        dropout: after each hidden layer (`classic`), on the features (`gap`)."""

    def __init__(
        self, depth: int, num_classes: int, in_channels: int = 3, width: float = 1.0, head: Head = "classic",
        dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [max(8, round(base * width)) for base in BASE_CHANNELS]
        incoming, stages = in_channels, []
        for count, outgoing in zip(STAGES[depth], channels, strict=True):
            layers: list[nn.Module] = []
            for _ in range(count):
                convolution = nn.Conv2d(incoming, outgoing, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True)]
                incoming = outgoing
            stages.append(nn.Sequential(*layers, Halve()))
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = stages
        hidden = max(8, round(HIDDEN * width))
        self.feature_dim = hidden if head == "classic" else incoming
        last = nn.Linear(self.feature_dim, num_classes) if num_classes else nn.Identity()
        if head == "classic":
            self.pool = nn.AdaptiveAvgPool2d(GRID)
            self.classifier = nn.Sequential(
                nn.Linear(incoming * GRID**2, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
                nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
                last,
            )  # fmt: skip
        else:
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Sequential(nn.Dropout(dropout), last)
        self.head_names = (f"classifier.{len(self.classifier) - 1}",)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):  # by fan-in: the paper's 0.01 dies out in a narrow network
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> the last map (N, channels, H / 32, W / 32), at least one pixel."""
        return self.stage5(self.stage4(self.stage3(self.stage2(self.stage1(x)))))

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """The last map -> logits (N, num_classes)."""
        return self.classifier(self.pool(x).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters form a layer, for layer-wise learning rates (timm's convention); here a stage."""
        return {"stem": r"^stage1", "blocks": r"^stage(\d+)"}
