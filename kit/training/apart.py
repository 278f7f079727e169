"""Several folds at once, one process and one GPU each."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import torch

from kit import console


def visible_gpus(device: torch.device) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use; none where it works on the CPU."""
    if device.type != "cuda":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()][: torch.cuda.device_count()]
    return [str(number) for number in range(torch.cuda.device_count())]


class Failed(Exception):
    """The process of `job` ended with another exit code than 0."""

    def __init__(self, job: str) -> None:
        super().__init__(job)
        self.job = job


def run_apart(jobs: dict[str, Callable[[], Sequence[str] | None]], gpus: Sequence[str]) -> None:
    """Run `python -m kit` with each job's arguments, one job at a time on each GPU; their lines come with their names.

    A job is asked for its arguments when its turn comes; none means that it is too late for it.
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
            arguments = jobs[job]()
            code = _run_one(job, arguments, gpu) if arguments is not None else 0
            if code:
                failed.append(Failed(job))

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
