"""What `kit/allocator.py` is worth: training with glibc's own habits, with freed memory kept, with huge pages.

python benchmarks/allocator.py            (each arm a process of its own, interleaved; about ten minutes on two cores)
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

CASES = (("tf_efficientnet_lite0", 128, "fp32"), ("resnet18", 96, "bf16"), ("resnet50", 96, "bf16"))
ARMS = {"glibc": (False, False), "kept": (True, False), "kept, huge pages": (True, True)}
BATCH, STEPS = 64, 24


def measure(name: str, size: int, precision: str, kept: bool, huge: bool) -> None:
    """Print images/s (median of the steps) and the share of the time that the kernel took."""
    from kit.allocator import keep_freed_memory

    if kept:
        keep_freed_memory()
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1" if huge else "0"
    import timm
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    model = timm.create_model(name).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    seconds, began, kernel = [], 0.0, 0.0
    for step in range(STEPS + 2):
        if step == 2:
            began, kernel = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images).float().mean()
        loss.backward()
        model.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    kernel = resource.getrusage(resource.RUSAGE_SELF).ru_stime - kernel
    print(BATCH / statistics.median(seconds[2:]), kernel / (time.perf_counter() - began) / torch.get_num_threads())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arm", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        name, size, precision, kept, huge = given.arm
        measure(name, int(size), precision, kept == "True", huge == "True")
        return
    print("| network | " + " | ".join(f"{arm}: images/s (kernel's share)" for arm in ARMS) + " |")
    print("|---|" + "---|" * len(ARMS))
    for case in CASES:
        found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
        for _ in range(given.repeats):
            for arm, flags in ARMS.items():
                command = [sys.executable, __file__, "--arm", *map(str, case), *map(str, flags)]
                environment = os.environ | {"PYTHONPATH": os.getcwd()}
                output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
                speed, share = map(float, output.split())
                found[arm].append((speed, share))
        cells = [
            f"{statistics.median(s for s, _ in each):.0f} ({statistics.median(k for _, k in each):.0%})"
            for each in found.values()
        ]
        print(f"| {case[0]}, {case[1]} px, {case[2]} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
