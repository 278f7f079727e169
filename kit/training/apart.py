"""Several folds at once, one process and one GPU each."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kit import console


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use; none or one: nothing to share out."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()][: torch.cuda.device_count()]
    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class Failed(Exception):
    """A process ended with another exit code than 0."""

    job: str
    code: int


def run_apart(jobs: dict[str, Sequence[str]], gpus: Sequence[str]) -> None:
    """Run `python -m kit` with each job's arguments, one job at a time on each GPU; their lines come with their names.

    Raises `Failed` with the first job that failed, after the others that had begun are done; no new ones begin.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    failed: list[Failed] = []

    def work(gpu: str) -> None:
        while not failed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            code = _run_one(job, jobs[job], gpu)
            if code:
                failed.append(Failed(job, code))

    threads = [threading.Thread(target=work, args=[gpu]) for gpu in gpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _run_one(job: str, arguments: Sequence[str], gpu: str) -> int:
    command = [sys.executable, "-m", "kit", *arguments]
    surroundings = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    process = subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            console.say(f"{job} | {line.rstrip()}")
    return process.wait()
