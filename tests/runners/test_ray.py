"""A cluster on this machine: a head and two nodes with a GPU each that is none."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.runners.attempt import Brought, Order, attempt, bring_home, newest, run_files, write_home
from kit.runners.fleet import Fleet, _tables
from kit.schema import dump_yaml, to_mapping
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split
from kit.stages.train import train
from kit.tracking.metrics_file import read_history
from kit.workspace import Workspace

QUICK_HEALTH = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_initial_delay_ms": "0", "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}  # fmt: skip
LONGER = ("train.epochs=8", "train.warmup_epochs=1", "machine.num_workers=0")


@pytest.fixture
def prepared(tmp_path, digits, tiny) -> Workspace:
    place = Workspace(tmp_path / "place")
    run = Run.open(tiny(), place)
    download(run, digits)
    index(run)
    split(run)
    return place


@pytest.fixture
def cluster() -> Iterator:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK_HEALTH.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False},
        )
        made.both = [made.add_node(num_cpus=1, num_gpus=1, object_store_memory=80_000_000) for _ in range(2)]
        yield made
        made.shutdown()


def _bytes(run: Run, folds=(0, 1)) -> list[bytes]:
    return [run.fold(fold).files.model.read_bytes() for fold in folds]


def _alive(place: Workspace) -> list[str]:
    """The kit's processes in this workspace."""
    found = subprocess.run(["pgrep", "-af", "kit train"], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if str(place.root) in line]


@pytest.mark.slow
def test_a_lost_node_and_a_killed_driver_change_no_bit(tmp_path, prepared, tiny, cluster):
    """Two seeds of two folds: a node is killed in the middle of a fold, then the driver, then it is typed again."""
    config = tmp_path / "long.yaml"
    config.write_text(dump_yaml(to_mapping(tiny("name=long", *LONGER))))
    words = ["train", "--config", str(config), "--on", f"ray:{cluster.address}", "--workspace", str(prepared.root)]
    alone = Run.open(tiny("name=alone", *LONGER), prepared)
    train(alone)
    run, ends = Run.open(tiny("name=long", *LONGER), prepared), time.monotonic() + 120
    log = (tmp_path / "log").open("w+")
    driver = subprocess.Popen([sys.executable, "-m", "kit", *words], stdout=log, stderr=subprocess.STDOUT)
    while not _begun(run) and time.monotonic() < ends:
        time.sleep(0.05)
    cluster.remove_node(cluster.both.pop(), allow_graceful=False)
    time.sleep(2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    ends = time.monotonic() + 60
    while _alive(prepared) and time.monotonic() < ends:
        time.sleep(0.2)
    assert not _alive(prepared), "the jobs end with the driver"
    done = subprocess.run([sys.executable, "-m", "kit", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    resumed = [int(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if "| from epoch" in line]
    assert max(resumed) > 1, done.stdout  # a fold went on where the lost ones had been
    assert _bytes(run) == _bytes(alone)
    assert not _alive(prepared)
    assert not list(run.files.folder.glob(".attempts/*"))


def _begun(run: Run) -> bool:
    return any(len(read_history(newest(run.files.folder, fold).metrics)) for fold in (0, 1))


@pytest.mark.slow
def test_a_pipeline_on_a_cluster_waits_for_starts_and_predicts_there(prepared, digits, tiny, cluster, tmp_path, capsys):
    configs = tmp_path / "configs"
    configs.mkdir()
    first = to_mapping(tiny("name=first")) | {"members": []}
    second = to_mapping(tiny("name=second", "model.start=first", "train.learning_rate=1e-4"))
    for name, mapping in (("first", first), ("second", second | {"members": []})):
        (configs / f"{name}.yaml").write_text(dump_yaml(mapping))
    blend = dump_yaml(to_mapping(tiny("name=both")) | {"members": ["first.yaml", "second.yaml"]})
    (configs / "both.yaml").write_text(blend)
    result = run_pipeline(configs / "both.yaml", prepared, digits, on=f"ray:{cluster.address}")
    assert result is not None
    assert result.num_rows == 50
    said = capsys.readouterr().out
    assert said.index("first fold 0 | train fold 0  epoch") < said.index("second fold 0 | from epoch 1")
    here = Run.open(tiny("name=alone"), prepared)
    train(here)
    assert _bytes(Run.named("first", prepared)) == _bytes(here)


def test_a_cluster_that_is_not_there_or_too_small_is_one_line(prepared, tiny, cluster):
    with pytest.raises(ConfigError, match=r"--on ray:127.0.0.1:1: no cluster answers there") as error:
        train(Run.open(tiny(), prepared), on="ray:127.0.0.1:1")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="gpus_per_fold: 2, and no node of the cluster has more than 1"):
        train(Run.open(tiny("machine.gpus_per_fold=2"), prepared), on=f"ray:{cluster.address}")


def _order(run: Run, prepared: Workspace, marker: Path, **more) -> Order:
    files = _tables(run) | {f"runs/{run.name}/{path.name}": path.read_bytes() for path in run_files(run.files.folder)}
    return Order(prepared.root, run.files.folder, 0, Path.cwd(), marker, 1, files, **more)


def test_of_two_attempts_the_first_one_home_counts(prepared, tiny, tmp_path):
    """A node that was cut off comes back when the fold is done: what is there stays, to the file's time."""
    run = Run.open(tiny(), prepared)
    train(run, [])
    marker = prepared.root / ".marker"
    marker.touch()
    order, said = _order(run, prepared, marker), []
    assert attempt(order, said.append) == Brought()
    before = run.fold(0).files.model.stat().st_mtime_ns
    assert said[0] == "from epoch 1"
    attempt(order, said.append)
    assert run.fold(0).files.model.stat().st_mtime_ns == before
    assert [path.name for path in run.files.folder.glob(".attempts/*")] == []


def test_a_node_with_a_disk_of_its_own_sends_the_files_home(prepared, tiny, tmp_path):
    """It sees the competition's pictures at the same place, and not the run: index, folds and run travel."""
    run, other = Run.open(tiny(), prepared), Workspace(tmp_path / "node")
    train(run, [])
    raw = other.raw(run.competition.name)
    raw.parent.mkdir(parents=True)
    raw.symlink_to(prepared.raw(run.competition.name))
    order = _order(run, other, tmp_path / "not-there")
    order = Order(other.root, other.run(run.name), *list(vars(order).values())[2:])
    brought = attempt(order, lambda line: None)
    assert {"model.safetensors", "metrics.jsonl", ".train.json"} <= brought.files.keys()
    write_home(run.fold(0).files.trained, brought.files)
    assert run.fold(0).is_trained
    train(run, [1])
    alone = Run.open(tiny("name=alone"), prepared)
    train(alone)
    assert _bytes(run) == _bytes(alone)
    raw.unlink()
    with pytest.raises(KitError, match="not on this node; put the competition's files there"):
        attempt(order, lambda line: None)


def test_what_attempts_left_comes_home_and_is_gone_on_with(prepared, tiny):
    """Its driver was killed: the furthest attempt becomes the fold's folder."""
    run = Run.open(tiny("name=long", *LONGER), prepared)
    train(run, [])
    assert not train(run, [0], max_hours=0).finished
    fold = run.fold(0).files.folder
    for name, epochs in (("fold_0-a", 0), ("fold_0-b", 3)):
        place = run.files.folder / ".attempts" / name / "fold_0"
        place.parent.mkdir(parents=True)
        place.mkdir()
        (place / "metrics.jsonl").write_text('{"epoch": 1}\n' * epochs)
    bring_home(run.files.folder, 0)
    assert len((fold / "metrics.jsonl").read_text().splitlines()) == 3
    assert not (run.files.folder / ".attempts").exists()


def test_a_process_that_fails_is_its_last_line(prepared, tiny):
    run = Run.open(tiny(), prepared)
    train(run, [])
    marker = prepared.root / ".marker"
    marker.touch()
    prepared.index(run.competition.name).unlink()
    with pytest.raises(KitError, match=r"index\.csv: no such file") as error:
        attempt(_order_without_tables(run, prepared, marker), lambda line: None)
    assert "\n" not in str(error.value)


def _order_without_tables(run: Run, prepared: Workspace, marker: Path) -> Order:
    return Order(prepared.root, run.files.folder, 0, Path.cwd(), marker, 1)


def test_nothing_to_do_needs_no_cluster(prepared, tiny):
    run = Run.open(tiny(), prepared)
    train(run)
    assert Fleet([run], [0, 1], "127.0.0.1:1").finish()
    assert os.listdir(prepared.root).count(".attempts") == 0
