"""The machine: what it can do is asked, what is left is measured, and what is measured is what trains."""

import os
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from machine import DEVICE

from kit import processes
from kit.config import Experiment
from kit.device import accelerator
from kit.device.accelerator import NO_BF16, has_bf16, runs_on, slots
from kit.device.measuring import Meter, Trial, choose, fastest, speed
from kit.device.precision import Precision, Wanted
from kit.models import build_classifier
from kit.processes import CORES, num_cores
from kit.run.run import Run
from kit.run.settling import settle_training
from kit.settings import Data, Model, Train
from kit.tasks import Outputs
from kit.training.workload import TrainingSteps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FP32, BF16 = Precision("fp32", "contiguous"), Precision("bf16", "channels_last")


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 5), ["sm_75", "sm_90"], True),
        ((6, 0), ["sm_75", "sm_80", "sm_90", "compute_90"], False),  # a P100 under a recent build
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90a", "compute_90"], True),
        ((10, 0), ["sm_90"], False),
        ((10, 0), ["sm_100"], True),
        ((9, 0), ["gfx90a"], True),  # AMD's, under ROCm
        ((9, 4), ["gfx90a", "gfx942"], True),
        ((11, 0), ["gfx90a", "gfx1100"], True),
        ((11, 0), ["gfx90a", "gfx1030"], False),
    ],
)
def test_a_gpu_that_the_build_lacks_is_known(capability, built_for, runs):
    assert runs_on(capability, built_for) is runs


def test_an_amd_gpu_is_known_by_its_architecture():
    """MI50 (gfx906) and MI250 (gfx90a) both call themselves 9.0."""
    assert runs_on((9, 0), ["gfx90a"], "gfx90a")
    assert not runs_on((9, 0), ["gfx90a"], "gfx906")


@pytest.mark.parametrize(("capability", "name"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpus_number_format_is_by_its_capability(monkeypatch, capability, name):
    monkeypatch.delenv(NO_BF16, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert Wanted().candidates(CUDA) == [Precision(name, "channels_last")]
    monkeypatch.setenv(NO_BF16, "1")
    assert Wanted().candidates(CUDA) == [Precision("fp16", "channels_last")]


def test_nvidias_libraries_give_the_same_bits_every_time(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    precision, exact = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    accelerator.tune(torch.device("cpu"))
    assert torch.backends.cudnn.benchmark
    assert (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == (precision, exact)
    try:
        accelerator.tune(torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(exact)


@pytest.mark.parametrize("flags", [[], ["_is_avx512_bf16_supported"], ["_is_amx_tile_supported"]])
def test_a_cpu_computes_in_bf16_only_where_it_has_instructions_for_it(monkeypatch, flags):
    monkeypatch.delenv(NO_BF16, raising=False)
    for flag in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, flag, lambda flag=flag: flag in flags, raising=False)
    assert has_bf16(CPU) is bool(flags)
    names = {option.name for option in Wanted().candidates(CPU)}
    assert names == {"bf16" if flags else "fp32"}, "nothing else is timed"
    assert [option.memory_format for option in Wanted().candidates(CPU)] == ["channels_last", "contiguous"]
    assert Wanted("fp16", "contiguous").candidates(CPU) == [Precision("fp16", "contiguous")], "what is named is taken"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),  # half a core
        ({"cpu.max": "400000 100000", "slice/cpu.max": "300000 100000"}, 3),  # the narrowest on the way counts
        ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1),  # version 1
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_containers_quota_counts(monkeypatch, tmp_path, files, cores):
    for name in (CORES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text("0::/slice\n")
    monkeypatch.setattr(processes, "CGROUP", tmp_path)
    monkeypatch.setattr(processes, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert num_cores() == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert num_cores() == min(cores, 2)


def test_each_gpu_is_named_to_its_process_with_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(accelerator, "num_cores", lambda: 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 7,9")
    assert slots(CUDA) == [{"CUDA_VISIBLE_DEVICES": name, CORES: "2"} for name in ("3", "7")]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(CUDA)] == ["0", "1"]
    assert slots(CPU) == []


def test_the_cores_that_are_given_are_used(monkeypatch):
    allowed = len(os.sched_getaffinity(0))
    monkeypatch.setenv(CORES, "1")
    assert num_cores() == 1
    monkeypatch.setenv(CORES, "1000")
    assert num_cores() == allowed, "no more than there are"


def test_near_ties_fall_by_a_fixed_order():
    fast, slow = Trial(BF16, 89.0), Trial(FP32, 100.0)  # within the timings' scatter
    assert choose([fast, slow]) is fast
    assert choose([Trial(BF16, 60.0), slow]) is slow


@pytest.mark.parametrize(
    ("tries", "expected", "asked"),
    [
        ([2.5, 1.9, 1.3, 1.0, 0.76, 0.78], 0.76, 6),  # a step in a process that asks for huge pages
        ([1.0, 1.0, 1.0], 1.0, 3),
    ],
)
def test_speeds_are_taken_warm(monkeypatch, tries, expected, asked):
    left, clock = list(tries), count()
    monkeypatch.setattr("kit.device.measuring.time", SimpleNamespace(perf_counter=lambda: next(clock) / 10))
    assert fastest(lambda: left.pop(0), seconds=0.25) == expected
    assert len(tries) - len(left) == min(asked, 5), "twice the time is enough for any number of tries"


def _steps(width: float = 0.125, sizes: tuple[int, ...] = (32,), batch_size: int = 8) -> TrainingSteps:
    torch.manual_seed(0)
    model = build_classifier(Model("resnet18", options={"width": width, "zero_init_last": False}), Outputs(2))
    return TrainingSteps(model, sizes, Train(batch_size=batch_size), 2, DEVICE)


def test_measuring_leaves_the_model_alone():
    steps = _steps()
    before = {name: value.clone() for name, value in steps.model.state_dict().items()}
    assert speed(steps.workload(()), FP32) > 0
    assert steps.is_right(BF16)
    assert all(torch.equal(before[name], value) for name, value in steps.model.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "met"),
    [(2.0, {2, 8}), (1.5, {2}), (0.5, {2})],  # an eighth of the batch; two images; two images, no more than twice
)
def test_what_takes_too_long_is_measured_on_a_small_batch(seconds, met):
    """A batch of 64 would take 32 seconds here; on emulated number formats, minutes."""
    counts = []
    work = _steps(batch_size=64).workload(())
    slow = work.__class__(work.subject, 64, lambda _: lambda count: counts.append(count) or count / 2, work.is_right)
    assert speed(slow, FP32, seconds) == pytest.approx(2.0)
    assert set(counts) == met
    assert (len(counts) == 2) == (seconds == 0.5)


@pytest.mark.parametrize("compiled", [False, True])
def test_starting_a_gpu_is_not_counted(compiled):
    """The first batch of each size takes long there: it starts the GPU, loads kernels and times them, or compiles."""
    met = set()

    def step(count):
        first, _ = count not in met, met.add(count)
        return 20.0 if first else 0.01 + count / 1000

    work = replace(_steps(batch_size=64).workload(()), start=lambda _: step)
    assert speed(work, replace(FP32, compiled=compiled)) == pytest.approx(64 / 0.074)


def test_wrong_gradients_are_seen(monkeypatch):
    steps = _steps(0.5)
    exact = steps.first_step(FP32, 8)
    for poison in (float("nan"), 1e20):
        wrong = [gradient.clone() for gradient in exact[1]]
        wrong[30].view(-1)[0] = poison
        monkeypatch.setattr(steps, "first_step", lambda p, _, w=wrong: (exact[0], w) if p.name == "bf16" else exact)
        assert not steps.is_right(BF16)
    monkeypatch.setattr(steps, "first_step", lambda p, _: (exact[0] * 1.2, exact[1]) if p.name == "bf16" else exact)
    assert not steps.is_right(BF16), "another loss"


@pytest.mark.parametrize(("sizes", "right"), [((16,), False), ((32,), True), ((32, 16), False)])
def test_bf16_is_refused_where_a_convolution_strides_over_one_pixel(monkeypatch, tmp_path, sizes, right):
    """At 16 px the last stage does, also where only some epochs are at 16 px; fp32 is taken in its place. A CPU's
    fault: no GPU's gradients are wrong there."""
    right = right or DEVICE.type != "cpu"
    monkeypatch.setattr("kit.device.precision.has_bf16", lambda _: True)
    steps = _steps(0.25, sizes)
    assert steps.is_right(BF16) is right
    best = Meter(DEVICE, tmp_path / "speeds.json").settle(steps.workload(("model",)), Wanted(), lambda _: False)[0]
    assert best.precision.name == ("bf16" if right else "fp32")
    assert best.images_per_second > 0


def test_what_is_timed_is_what_trains(tmp_path, monkeypatch):
    train = Train(epochs=6, sizes=((0, 32), (5, 64)), freeze_layers=0.5)
    run = Run.open(Experiment("frozen", "digits", data=Data(image_size=64), train=train), tmp_path)
    seen = []

    def settle(_meter, work, wanted, compile_if):
        seen.append((work, wanted, compile_if(1.0)))
        return [Trial(FP32, 1.0)]

    monkeypatch.setattr(Meter, "settle", settle)
    model = build_classifier(Model("resnet18", options={"width": 0.25}), Outputs(2))
    settle_training(run, model, 100_000)
    work, wanted, would_compile = seen[0]
    assert work.subject[:1] == ("training",)
    assert work.subject[-5:-3] == (32, 64), "most epochs' size first, then the other"
    assert wanted == Wanted()
    assert would_compile == (DEVICE.type != "cpu"), "on a CPU it gained nothing"
    learns = [parameter.requires_grad for parameter in model.parameters()]
    assert not learns[0]
    assert learns[-1]
