"""Is a convolution's bf16 gradient on this CPU the fp32 one, on maps of a few pixels? Counts where it is not.

python benchmarks/bf16_gradient.py
"""

import torch
from torch import nn

REPEATS = 6


def wrong(channels: tuple[int, int], size: int, stride: int, batch: int, layout: torch.memory_format) -> int:
    """How many of REPEATS trials differ from fp32 by more than 5 % of the largest gradient."""
    count = 0
    for _ in range(REPEATS):
        numel = channels[0] * channels[1] * 9
        junk = [
            torch.full((k * numel,), float("nan"), dtype=t) for k in (1, 2) for t in (torch.float32, torch.bfloat16)
        ]
        del junk  # what is left unwritten shall show
        torch.manual_seed(0)
        conv = nn.Conv2d(*channels, 3, stride, padding=1, bias=False).to(memory_format=layout)
        pixels = torch.randn(batch, channels[0], size, size).contiguous(memory_format=layout)
        gradients = []
        for enabled in (False, True):
            conv.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                out = conv(pixels)
            out.float().backward(torch.linspace(0.5, 1.5, out.numel()).view(out.shape))
            gradients.append(conv.weight.grad.clone())
        error = (gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()
        count += not bool(error < 0.05)  # nan counts
    return count


def main() -> None:
    print(f"torch {torch.__version__}")
    shapes = [(32, 64), (64, 64), (128, 256), (256, 256), (256, 512), (512, 512), (16, 32)]
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    totals: dict[tuple[int, int], int] = {}
    for layout in layouts.values():
        for batch in (16, 64):
            for channels in shapes:
                for size in (1, 2, 3, 4):
                    for stride in (1, 2):
                        totals.setdefault((size, stride), 0)
                        totals[size, stride] += wrong(channels, size, stride, batch, layout)
    trials = len(layouts) * 2 * len(shapes) * REPEATS
    for (size, stride), count in totals.items():
        print(f"map {size}x{size}, stride {stride}: {count} of {trials} trials wrong")


if __name__ == "__main__":
    main()
