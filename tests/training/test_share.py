"""Several processes that train one fold together: the same losses and weights as one, and the same bits each time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from machine import DEVICE
from shared_steps import in_two, mixed, pixels, step
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

from kit.device.accelerator import most_processes
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.schema import dump_yaml, to_mapping
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split
from kit.stages.train import train
from kit.tracking.metrics_file import read_history
from kit.training.checkpoint import load_model
from kit.training.share import WholeBatchNorms
from kit.workspace import Workspace

# SGD: where a gradient is as good as nothing, Adam makes a whole step of how it was rounded, other on each processor
RECIPE = ("train.batch_size=21", "train.epochs=5", "train.optimizer=sgd", "train.learning_rate=0.05")
SHARED = ("machine.gpus_per_fold=2", "machine.num_threads=2", *RECIPE)


def _two(tmp_path: Path, work) -> list:
    """What `work(share)` returns in each of two processes."""
    multiprocessing.spawn(in_two, (str(tmp_path), work), nprocs=2)
    return [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]


def test_a_step_of_uneven_shares_is_the_step_of_the_whole_batch(tmp_path):
    """With class weights, whose mean is over the whole batch, and a batch norm, whose statistics are."""
    whole = step(None)
    for part in _two(tmp_path, step):
        assert set(part) == set(whole)
        for name, value in whole.items():
            assert torch.allclose(part[name], value, rtol=1e-4, atol=1e-6), name


def test_means_of_parts_add_up_to_the_mean(tmp_path):
    one, other = _two(tmp_path, mixed)
    assert one["loss"] == other["loss"] == pytest.approx(8.0)
    assert one["gradient"] + other["gradient"] == pytest.approx(4.0)
    assert one["all"] == other["all"] == 3


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_the_norm_of_one_process_is_torchs(tmp_path, momentum):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        ours, plain = (nn.BatchNorm2d(3, momentum=momentum) for _ in range(2))
        inputs = [pixels().requires_grad_() for _ in range(2)]
        with WholeBatchNorms():
            first = ours(inputs[0])
        second = plain(inputs[1])
        for outputs in (first, second):
            outputs.square().mul(torch.arange(25.0).view(5, 5)).sum().backward()
        assert torch.allclose(first, second, atol=1e-5)
        assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=1e-3, atol=1e-3)
        for name, value in plain.state_dict().items():
            assert torch.allclose(ours.state_dict()[name].float(), value.float(), rtol=1e-5), name
        ours.eval()
        with WholeBatchNorms():  # in evaluation each picture stands for itself
            assert torch.equal(
                ours(pixels()), F.batch_norm(pixels(), ours.running_mean, ours.running_var, ours.weight, ours.bias)
            )
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def place(tmp_path_factory, digits, tiny) -> Workspace:
    if most_processes(DEVICE) == 1:
        pytest.skip("a GPU for each process, or none at all")
    place = Workspace(tmp_path_factory.mktemp("shared"))
    run = Run.open(tiny(), place)
    download(run, digits)
    index(run)
    split(run)
    return place


@pytest.fixture(scope="module")
def shared(place, tiny) -> Run:
    """A fold trained by two processes."""
    run = Run.open(tiny("name=shared", *SHARED), place)
    assert train(run, [0]).finished
    return run


def _weights(run: Run) -> dict[str, torch.Tensor]:
    return load_model(run.fold(0).files.model)[0]


def test_two_processes_train_what_one_does(place, tiny, shared):
    """100 images, a batch of 21 (11 and 10), a last validation batch of 16: all of it is shared unevenly."""
    alone = Run.open(tiny("name=alone", *RECIPE), place)  # of one thread, which each of the two has as well
    train(alone, [0])
    for one, two in zip(alone.fold(0).history, shared.fold(0).history, strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
        assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=1e-3)
        assert two["valid_accuracy"] == pytest.approx(one["valid_accuracy"], abs=0.011)  # one image at most
    ours, theirs = _weights(alone), _weights(shared)
    for name, value in ours.items():
        assert torch.allclose(value.float(), theirs[name].float(), rtol=1e-2, atol=1e-3), name
    assert "in 2 processes" in str(shared.fold(0).computing)
    assert shared.experiment.machine.gpus_per_fold == 2  # frozen: another number is another order of sums


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the processes in /proc")
def test_a_process_that_is_killed_changes_no_bit(place, tiny, shared, tmp_path):
    """After the first epoch the second process is killed: all begin again at the checkpoint, and end as without it."""
    config = tmp_path / "killed.yaml"
    config.write_text(dump_yaml(to_mapping(tiny("name=killed", *SHARED))))
    command = [
        sys.executable,
        "-m",
        "kit",
        "train",
        "--config",
        str(config),
        "--fold",
        "0",
        "--workspace",
        str(place.root),
    ]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    files, ends = Run.open(tiny("name=killed", *SHARED), place).fold(0).files, time.monotonic() + 120
    while len(read_history(files.metrics)) < 1 and time.monotonic() < ends:
        time.sleep(0.01)
    second = next(pid for pid in _sharing(place.root) if b"RANK=1" in _environment(pid))
    os.kill(second, signal.SIGKILL)
    said, _ = parent.communicate(timeout=240)
    assert parent.returncode == 0, said
    assert "one of its processes was lost; all of them begin again at the last checkpoint" in said
    assert files.model.read_bytes() == shared.fold(0).files.model.read_bytes()
    assert not _sharing(place.root)


def _sharing(root: Path) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--share" in words and str(root).encode() in words and b"torch.distributed.run" not in b" ".join(words):
            found.append(int(folder.name))
    return [pid for pid in found if b"\0RANK=" in b"\0" + _environment(pid)]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_what_one_of_them_raises_is_one_line(place, tiny):
    run = Run.open(tiny("name=broken", *SHARED, "train.learning_rate=1e30", "train.warmup_epochs=0"), place)
    with pytest.raises(KitError, match=r"^(the loss became|the weights became|fold 0: the weights)") as error:
        train(run, [0])
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_out_of_time_it_saves_and_goes_on_to_the_same_bits(place, tiny, shared):
    run = Run.open(tiny("name=late", *SHARED), place)
    assert not train(run, [0], max_hours=0).finished
    assert train(Run.open(tiny("name=late", *SHARED), place), [0]).finished
    assert run.fold(0).files.model.read_bytes() == shared.fold(0).files.model.read_bytes()


def test_what_cannot_be_shared_is_refused(place, tiny):
    with pytest.raises(ConfigError, match="8 processes cannot share a batch of 4"):
        train(Run.open(tiny("name=n", "machine.gpus_per_fold=8", "train.batch_size=4"), place), [0])
    with pytest.raises(ConfigError, match=r"machine.compile: no fold of several processes is compiled"):
        train(Run.open(tiny("name=n", "machine.gpus_per_fold=2", "machine.compile=true"), place), [0])
