"""How folds × seeds × models grow over a cluster: what a start and a lost node cost, measured; the rest simulated.

    python benchmarks/scale.py measure                      # a Ray cluster of two nodes on this machine: JSON
    python benchmarks/scale.py simulate --folds 9.4 24 ...  # minutes of a fold of each model, as measured

`simulate` plays out 5 folds × 3 seeds of each model on 1 to 64 nodes that take the next job as they become free, one
job at a time each; a job costs `--start` seconds before its first step. Nodes are lost at random, one in `--lost-every`
hours of a node's work: the job goes on elsewhere, `--lost` seconds later plus what came after its last checkpoint (each
epoch; `--epochs` of them). Perfect scaling is the sum of all folds, divided. Medians of `--draws`; nothing else is
modelled: no queue before the cluster, no network, no slower node.
"""

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kit.config import Experiment
from kit.device.accelerator import default_device, processor
from kit.run.run import Run
from kit.runners.attempt import newest
from kit.schema import dump_yaml, to_mapping
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split
from kit.stages.train import train
from kit.tools.demo import write_archives
from kit.tracking.metrics_file import read_history
from kit.workspace import Workspace

NODES = (1, 2, 4, 8, 16, 32, 64)
HEALTH = {"initial_delay_ms": "0", "period_ms": "500", "failure_threshold": "3"}  # how soon Ray gives a node up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "simulate"])
    parser.add_argument("--folds", type=float, nargs="+", default=[], metavar="MINUTES")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--start", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--lost", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--lost-every", type=float, default=1e9, metavar="HOURS")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args()
    print(json.dumps(measure(), indent=2) if given.what == "measure" else table(given))


def table(given: argparse.Namespace) -> str:
    jobs = [60 * minutes for minutes in given.folds for _ in range(5 * given.seeds)]
    lines = ["| nodes | hours | perfect | efficiency |", "|---|---|---|---|"]
    for count in NODES:
        perfect = sum(jobs) / count
        hours = np.median([simulated(jobs, count, given, np.random.default_rng(draw)) for draw in range(given.draws)])
        share = f"{perfect / hours:.2f}"
        lines.append(f"| {count} | {hours / 3600:.2f} | {perfect / 3600:.2f} | {share} |")
    return "\n".join(lines)


def simulated(jobs: list[float], count: int, given: argparse.Namespace, chance: np.random.Generator) -> float:
    """Seconds until the last job is done; the longest begin first."""
    free = [0.0] * count
    for length in sorted(jobs, reverse=True):
        began, left = heapq.heappop(free), length
        while True:
            until_lost = chance.exponential(given.lost_every * 3600)
            if until_lost >= given.start + left:
                break
            done = max(0.0, until_lost - given.start)
            kept = done // (length / given.epochs) * (length / given.epochs)  # whole epochs
            began, left = began + until_lost + given.lost, left - kept
        heapq.heappush(free, began + given.start + left)
    return max(free)


def measure() -> dict[str, float | str]:
    """Seconds: a fold here alone, and as a job; its start; Ray's start; from a node's end to the fold's next epoch. And
    the images/s of one process, and of two that share a fold's batches."""
    os.environ.update(
        {f"RAY_health_check_{name}": value for name, value in HEALTH.items()}, RAY_USAGE_STATS_ENABLED="0"
    )
    from ray.cluster_utils import Cluster

    found: dict[str, float | str] = {"processor": processor(default_device())}
    with tempfile.TemporaryDirectory() as folder:
        place = Workspace(Path(folder) / "place")
        small = ["data.num_folds=2", "machine.num_threads=1", "machine.num_workers=0", "model.options.width=0.25"]
        one = Run.open(Experiment.load("configs/demo.yaml", ["name=one", *small]), place)
        download(one, write_archives(Path(folder) / "digits"))
        index(one)
        split(one)
        train(one, [])  # settled before the clock runs
        began = time.perf_counter()
        train(one, [0])
        found["fold, in this process"] = time.perf_counter() - began
        began = time.perf_counter()
        _kit(one, place, "one-2", small, [])
        found["fold, a process of its own"] = time.perf_counter() - began
        began = time.perf_counter()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
        found["a cluster's start"] = time.perf_counter() - began
        began = time.perf_counter()
        _kit(one, place, "one-3", small, ["--on", f"ray:{cluster.address}"])
        found["fold, on the cluster"] = time.perf_counter() - began
        lost = Run.open(Experiment.load("configs/demo.yaml", ["name=lost", *small]), place)
        job = _start(lost, place, "lost", small, ["--on", f"ray:{cluster.address}"])
        while not (before := _epochs(lost)):
            time.sleep(0.05)
        first = next(lost.files.folder.glob(".attempts/fold_0-*"))
        cluster.remove_node(nodes.pop(_node_of(first, nodes)), allow_graceful=False)
        began = time.perf_counter()
        while _epochs(lost) <= before and job.poll() is None:
            time.sleep(0.05)
        found["from a node's loss to the fold's next epoch"] = time.perf_counter() - began
        job.wait()
        seconds = [line["seconds"] for line in read_history(lost.fold(0).files.metrics)]
        found["of it that epoch"] = float(np.median(seconds))
        cluster.shutdown()
        for name, count in (("one process of two threads", 1), ("two processes of a thread that share the batches", 2)):
            more = ["machine.num_threads=2", f"machine.gpus_per_fold={count}", f"name=shared-{count}"]
            run = Run.open(Experiment.load("configs/demo.yaml", [*small, *more]), place)
            train(run, [0])
            speeds = [line["images_per_second"] for line in read_history(run.fold(0).files.metrics)]
            found[f"images/s, {name}"] = float(np.median(speeds))
    return found


def _node_of(attempt: Path, nodes: list) -> int:
    """Which of the nodes has the process of this attempt: the parent's parent of its `kit train` is the raylet."""
    pid = subprocess.run(["pgrep", "-f", str(attempt)], capture_output=True, text=True, check=True).stdout.split()[0]
    while pid != "1":
        for number, node in enumerate(nodes):
            if int(pid) in {one.process.pid for kind in node.all_processes.values() for one in kind}:
                return number
        pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    raise SystemExit(f"{attempt}: on neither node")


def _epochs(run: Run) -> int:
    return len(read_history(newest(run.files.folder, 0).metrics))


def _start(run: Run, place: Workspace, name: str, small: list[str], more: list[str]) -> subprocess.Popen:
    config = place.root / f"{name}.yaml"
    config.write_text(dump_yaml(to_mapping(Experiment.load("configs/demo.yaml", [f"name={name}", *small]))))
    words = ["train", "--fold", "0", "-c", str(config), "--workspace", str(place.root), *more]
    return subprocess.Popen([sys.executable, "-m", "kit", *words], stdout=subprocess.DEVNULL)


def _kit(run: Run, place: Workspace, name: str, small: list[str], more: list[str]) -> None:
    if _start(run, place, name, small, more).wait():
        raise SystemExit(f"{name} failed")


if __name__ == "__main__":
    main()
