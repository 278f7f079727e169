"""What only a GPU can show, in one command and one table: does each number format train and predict, how fast, in how
much memory, compiled or not; what it costs that every run gives the same bits ("of free kernels": training's speed, of
that with cuDNN's kernels chosen by measurement and no thought of bits); and do several GPUs give the folds that one
gives?

    python benchmarks/gpu_smoke.py [--images 1797] [--configs NAME ...] [--formats fp16 bf16-compiled ...]

Pictures: scikit-learn's digits, scaled to each config's size, so that neither files nor a network are needed
(pretrained configs get random weights: the speed is the same). Each row is a process of its own. Without a GPU
the rows are the CPU's, which shows no more than that this script works.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit import Experiment, Run
from kit.device.accelerator import default_device, describe_accelerators, has_bf16
from kit.device.measuring import SECONDS, fastest
from kit.device.precision import Precision
from kit.inference.workload import PredictionBatches
from kit.run.network import Networks, initial_model
from kit.run.predicting import prediction_compute, sample
from kit.stages import download, index, split, train
from kit.tools.bench import prediction_speed, training_speeds
from kit.tools.demo import write_archives
from kit.training.optim import set_training
from kit.training.workload import TrainingSteps

CONFIGS = ["dogs-vs-cats", "dogs-vs-cats-finetune", "dogs-vs-cats-gpu", "dogs-vs-cats-resnet50"]
FORMATS = ["fp32", "fp16", "bf16", "fp16-compiled", "bf16-compiled"]
TABLE = [
    "config", "format", "train, images/s", "of the limit", "of free kernels", "predict, images/s", "peak MiB", "right",
    "same bits",
]  # fmt: skip


def experiment(config: str, name: str, compiled: bool) -> Experiment:
    settings = [
        "competition=digits", f"name=smoke-{config}-{name}-{compiled}".lower(), "model.weights=none",
        "model.start=null", "train.epochs=1", "train.freeze_norms=false", "data.num_folds=2",
        f"machine.precision={name}", f"machine.predict_precision={name}", f"machine.compile={compiled}",
        f"machine.predict_compile={compiled}",
    ]  # fmt: skip
    return Experiment.load(f"configs/{config}.yaml", [word.lower() for word in settings])


def measure(config: str, name: str, compiled: bool, workspace: Path) -> dict[str, Any]:
    """One row: the kit's own bench, the device's peak memory, and whether the numbers are fp32's."""
    run = Run.open(experiment(config, name, compiled), workspace).trial()
    networks = Networks(run)
    networks.settle()
    memory = torch.get_device_module(run.device)
    if hasattr(memory, "reset_peak_memory_stats"):
        memory.reset_peak_memory_stats()
    trained = next(speed for speed in training_speeds(networks) if speed.name == "train")
    peak = memory.max_memory_allocated() / 2**20 if hasattr(memory, "max_memory_allocated") else float("nan")
    prediction = prediction_speed(run)
    model = initial_model(run)
    settings = replace(run.experiment.train, batch_size=16)
    set_training(model, settings, 0)
    option = Precision(name, prediction_compute(run).precision.memory_format, compiled)
    steps = TrainingSteps(model, [run.experiment.side(0)], settings, run.competition.outputs.count, run.device)
    loss, gradients = steps.first_step(option, 16)
    again, repeated = steps.first_step(option, 16)
    same = loss == again and all(torch.equal(one, other) for one, other in zip(gradients, repeated, strict=True))
    batches = PredictionBatches(model.eval(), model.activate, sample(run, run.samples.pixels), run.device)
    right = steps.is_right(option) and batches.is_right(option)
    return {
        "train": trained.images_per_second, "of_limit": trained.of_limit, "predict": prediction.images_per_second,
        "peak": peak, "right": right, "same": same, "of_free": of_free_kernels(run, model, option),
    }  # fmt: skip


def of_free_kernels(run: Run, model: nn.Module, option: Precision) -> float:
    """Training's speed, of that with whatever kernels are the fastest."""
    train, outputs = run.experiment.train, run.competition.outputs.count
    steps = TrainingSteps(model, [run.experiment.side(0)], train, outputs, run.device)
    taken = []
    for free in (False, True):
        step = partial(steps.start(option), train.batch_size)
        if free:
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = True
        step()
        taken.append(fastest(step, SECONDS))
    return taken[1] / taken[0]


def row(config: str, form: str, workspace: Path) -> list[str]:
    asked = [sys.executable, __file__, "--row", config, form, str(workspace)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return [config, form, "failed: " + (lines[-1] if lines else "?")]
    made = json.loads(done.stdout.splitlines()[-1])
    speeds = [f"{made['train']:,.0f}", f"{made['of_limit']:.3f}", f"{made['of_free']:.3f}", f"{made['predict']:,.0f}"]
    return [config, form, *speeds, f"{made['peak']:,.0f}", str(made["right"]), str(made["same"])]


def several(workspace: Path) -> str:
    """Both folds of a small run, on all GPUs and one after the other: the same folds, and how long each took."""
    taken, scores = {}, {}
    for place in ("here", "gpus"):
        settings = ["competition=digits", f"name=smoke-{place}", "data.num_folds=2", "train.epochs=4"]
        result = train.train(Run.open(Experiment.load("configs/demo.yaml", settings), workspace), on=place)
        taken[place], scores[place] = result.seconds, result.scores
    return f"here {taken['here']:.0f} s {scores['here']}; gpus {taken['gpus']:.0f} s {scores['gpus']}"


def prepare(workspace: Path, count: int) -> None:
    run = Run.open(experiment("dogs-vs-cats", "fp32", False), workspace)
    download.download(run, write_archives(workspace / "digits", count))
    index.index(run)
    split.split(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1797, help="digits to use")
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        config, form, workspace = given.row
        print(json.dumps(measure(config, form[:4], form.endswith("compiled"), Path(workspace))))
        return
    device = default_device()
    for line, _ in describe_accelerators():
        print(f"{line}; torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), given.images)
        print("| " + " | ".join(TABLE) + " |\n|" + "---|" * len(TABLE))
        for config in given.configs:
            for form in given.formats:
                on_cpu = device.type == "cpu" and form not in {"fp32", "bf16"}
                if on_cpu or (form.startswith("bf16") and not has_bf16(device)):
                    continue
                print("| " + " | ".join(row(config, form, Path(folder))) + " |", flush=True)
        if torch.accelerator.device_count() > 1:
            print(several(Path(folder)))


if __name__ == "__main__":
    main()
