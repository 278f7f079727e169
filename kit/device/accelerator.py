"""The accelerator and the cores that this process may use. Nothing outside this package names an accelerator's kind.

cuda is NVIDIA's, and AMD's under ROCm; mps is Apple's, xpu Intel's. What a machine can do is asked, not measured."""

import os
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kit import console
from kit.processes import CORES, num_cores

NO_BF16 = "KIT_NO_BF16"  # in the environment: behave as on a machine without bfloat16
CPU = torch.device("cpu")
_VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK"}  # ROCm reads CUDA's variable too
_BF16_FROM = (8, 0)  # CUDA's compute capability


def default_device() -> torch.device:
    """The accelerator where there is one that this torch build has code for, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return CPU
    device = torch.device(found.type)
    if not has_code(device):
        console.warn(f"this torch build has no code for {device_name(device)}: the CPU is used (see `kit doctor`)")
        return CPU
    return device


def has_code(device: torch.device) -> bool:
    """Can this torch build run on this accelerator?"""
    if device.type != "cuda":
        return True
    facts = torch.cuda.get_device_properties(device)
    architecture = getattr(facts, "gcnArchName", "").partition(":")[0] if torch.version.hip else ""
    return runs_on((facts.major, facts.minor), torch.cuda.get_arch_list(), architecture)


def runs_on(capability: tuple[int, int], built_for: list[str], architecture: str = "") -> bool:
    """Does a torch build for `built_for` (`sm_75`, `compute_90`, `gfx90a`, ...) run on a GPU of this capability?
    NVIDIA: machine code (sm) runs on the same major version from its minor version on, PTX (compute) on anything newer
    (https://docs.nvidia.com/cuda/cuda-programming-guide, compute capabilities and binary compatibility). AMD: code for
    its own `architecture`; where that is not known, for its version (gfx90a is 9.0, stepping a)."""
    for name in built_for:
        if name.startswith("gfx"):
            version = name.removeprefix("gfx")
            if name == architecture or (not architecture and (int(version[:-2]), int(version[-2], 16)) == capability):
                return True
            continue
        kind, _, digits = name.partition("_")
        number = int("".join(filter(str.isdigit, digits)) or 0)
        major, minor = divmod(number, 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def has_bf16(device: torch.device) -> bool:
    """Does it compute in bfloat16 natively? Where it does not, torch emulates it, 10 to 30 times slower on a CPU."""
    if os.environ.get(NO_BF16):
        return False
    if device.type == "cpu":
        flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # absent on other processors
        return any(getattr(torch.cpu, flag, bool)() for flag in flags)
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= _BF16_FROM
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return bool(torch.xpu.is_bf16_supported()) if device.type == "xpu" else False


def device_name(device: torch.device) -> str:
    """What a person calls it."""
    return processor(device) if device.type in {"cuda", "xpu"} else {"cpu": "the CPU"}.get(device.type, device.type)


def processor(device: torch.device) -> str:
    """The model of the GPU, or of the CPU."""
    if device.type in {"cuda", "xpu"}:
        return str(torch.get_device_module(device).get_device_name(device))
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_accelerators() -> Iterator[tuple[str, bool]]:
    """(a line, is it usable?) for each accelerator, or why there is none."""
    if not torch.accelerator.is_available():
        builds = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
        built = " ".join(f"{name} {version}" for name, version in builds.items() if version)
        text = f"none usable (torch is built for {built})" if built else "this torch build has no GPU support"
        yield f"{text}: the CPU is used", True
        return
    kind = torch.device(str(torch.accelerator.current_accelerator())).type
    for number in range(torch.accelerator.device_count()):
        device = torch.device(kind, number)
        if kind != "cuda":
            yield f"{device}: {processor(device)}", True
            continue
        facts = torch.cuda.get_device_properties(number)
        text = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, compute capability {facts.major}.{facts.minor}"
        built_for = ", ".join(torch.cuda.get_arch_list())
        missing = f"; this torch build has no code for it (only for {built_for}): install a build that does"
        yield (text, True) if has_code(device) else (text + missing, False)


def slots(device: torch.device, each: int = 1) -> list[dict[str, str]]:
    """The environments of processes that use `each` accelerators of this kind alone, as many as this one may use."""
    variable = _VISIBLE.get(device.type)
    if variable is None:
        return []
    count, named = torch.accelerator.device_count(), os.environ.get(variable)
    names = [str(number) for number in range(count)]
    if named is not None:
        names = [name.strip() for name in named.split(",") if name.strip()][:count]
    groups = [names[first : first + each] for first in range(0, len(names) - each + 1, each)]
    cores = max(1, num_cores() // max(1, len(groups)))
    return [{variable: ",".join(group), CORES: str(cores)} for group in groups]


def most_processes(device: torch.device) -> int | None:
    """That can compute side by side: one on each accelerator; `None` on a CPU, where there is no such limit."""
    return None if device.type == "cpu" else torch.accelerator.device_count()


def use_accelerator(number: int) -> None:
    """Compute on this one of the accelerators that the process may use; does nothing on the CPU."""
    if default_device().type != "cpu":
        torch.accelerator.set_device_index(number)


def tune(device: torch.device) -> None:
    """Where NVIDIA's libraries leave a choice: kernels that give the same bits every time, without which no killed fold
    goes on to the same weights, and TF32 for what stays fp32. benchmarks/gpu_smoke.py measures what it costs."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True, warn_only=True)  # cuDNN's, too
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # takes time
        warnings.filterwarnings("ignore", ".*does not have a deterministic implementation")  # a few networks' layers
        torch.backends.cudnn.benchmark = False  # takes whichever kernel is the faster one this time
        torch.set_float32_matmul_precision("high")  # cuDNN's convolutions take TF32 by default


def synchronize(device: torch.device) -> None:
    if device.type not in {"cpu", "meta"}:
        torch.accelerator.synchronize()


def release_memory(device: torch.device) -> None:
    module: Any = torch.get_device_module(device)
    getattr(module, "empty_cache", lambda: None)()


def pins_memory(device: torch.device) -> bool:
    """Is a copy to the device faster from pinned memory?"""
    return device.type in {"cuda", "xpu"}


def is_out_of_memory(error: BaseException) -> bool:
    """Was the device's memory too small? (mps has no exception of its own for it.)"""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
