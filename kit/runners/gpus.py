"""This machine's GPUs: one job at a time on each, in its own process with its share of the cores."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from kit import console
from kit.device import accelerator
from kit.errors import ConfigError, KitError, counted
from kit.processes import PARENT, end
from kit.runners.job import Job

COMMAND = (sys.executable, "-m", "kit")


def slots(gpus_per_job: int = 1) -> list[dict[str, str]]:
    """The environment of a job that uses one GPU, or several, alone; for as many jobs as there are GPUs for."""
    return accelerator.slots(accelerator.default_device(), gpus_per_job)


def open_runner(gpus_per_job: int = 1) -> "Gpus":
    environments = slots(gpus_per_job)
    if not environments:
        there = len(slots())
        if there:
            raise ConfigError(f"machine.gpus_per_fold: {gpus_per_job}, and this machine has {counted(there, 'GPU')}")
        raise ConfigError("--on gpus: this machine has no GPU that torch can use (see `kit doctor`); --on here")
    return Gpus(environments)


class Gpus:
    """`environments`: what each process gets on top of this one's environment; as many jobs run at once."""

    def __init__(self, environments: Sequence[Mapping[str, str]]) -> None:
        self._environments = environments
        self._processes: list[subprocess.Popen[str]] = []
        self._failed: list[Exception] = []
        self._late: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> list[Job]:
        """Output lines are prefixed with their job's name. After a failure no new job starts; those running finish.
        However this ends, no process is left."""
        accelerator.release_memory(accelerator.default_device())  # measuring used it; now it is theirs
        console.stage("train", f"{len(jobs)} jobs, {len(self._environments)} at a time, each on its own GPUs")
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        threads = [threading.Thread(target=self._work, args=[waiting, one], daemon=True) for one in self._environments]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            end(self._processes)
        if self._failed:
            raise self._failed[0]
        return self._late

    def _work(self, waiting: "queue.SimpleQueue[Job]", environment: Mapping[str, str]) -> None:
        while not self._failed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                arguments = job.arguments()
                if arguments is None:
                    self._late.append(job)
                elif self._run_one(job, arguments, environment):
                    raise KitError(f"{job.name} failed (the reason is above); type the same command to go on")
            except Exception as error:  # raised again where the caller waits
                self._failed.append(error)

    def _run_one(self, job: Job, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        variables, words = {**os.environ, **environment, PARENT: str(os.getpid())}, [*COMMAND, *arguments]
        process = subprocess.Popen(
            words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self._processes.append(process)
        for line in process.stdout or ():
            if line.strip():
                console.say(f"{job.name} | {line.rstrip()}")
        return process.wait()
