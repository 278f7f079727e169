"""One fold's training in several processes that torchrun starts: on a GPU each, or on the cores of a CPU."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from kit import console
from kit.device.accelerator import release_memory
from kit.errors import KitError
from kit.processes import PARENT, end
from kit.run.run import RunFold
from kit.training.loop import OutOfTime

TRIES = 3  # in a row, without a new checkpoint
_LAUNCH = "from kit.processes import end_with_parent as end; end(); from torch.distributed.run import main; main()"
_PLACE = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost")


def fit_in_processes(fold: RunFold, num_workers: int, deadline: float | None) -> None:
    """Train the fold to its end, with `num_workers` loading for each process. Where a process is lost, all begin again
    at the last checkpoint. Raises `OutOfTime` as the loop does, and `KitError` with what one of them raised."""
    files, tries = fold.files, 0
    release_memory(fold.run.device)  # measuring used it; now it is theirs
    for left in (files.failed, files.model):
        left.unlink(missing_ok=True)
    while not files.model.is_file():
        reached = _checkpoint(fold)
        code, said = _run(fold, num_workers, deadline)
        if files.failed.is_file():
            raise KitError(files.failed.read_text(encoding="utf-8"))
        if code == 0 and not files.model.is_file():
            raise OutOfTime
        if code == 0:
            return
        tries = 1 if _checkpoint(fold) != reached else tries + 1
        if tries == TRIES:
            raise KitError(
                f"{fold.title}: its processes ended {TRIES} times and got no further. The last said:\n{said}"
            )
        console.warn(f"{fold.title}: one of its processes was lost; all of them begin again at the last checkpoint")


def gpus_needed(folds: Sequence[RunFold]) -> int:
    """For each of these folds; one that has begun keeps its number."""
    return max((fold.computing.gpus_per_fold for fold in folds), default=1)


def _checkpoint(fold: RunFold) -> int:
    return fold.files.checkpoint.stat().st_mtime_ns if fold.files.checkpoint.is_file() else 0


def _run(fold: RunFold, num_workers: int, deadline: float | None) -> tuple[int, str]:
    """(exit code, the end of what they wrote to their standard error)"""
    run, count = fold.run, fold.computing.gpus_per_fold
    words = [sys.executable, "-c", _LAUNCH, "--nproc-per-node", str(count), *_PLACE, "-m", "kit", "train"]
    words += ["--inside", "--share", str(num_workers), "--fold", str(fold.number)]
    words += ["--config", str(run.files.experiment), "--workspace", str(run.workspace.root)]
    if deadline is not None:
        words += ["--max-hours", f"{max(0.0, deadline - time.monotonic()) / 3600:.6f}"]
    threads = max(1, (fold.computing.num_threads or 1) // count)
    variables = {**os.environ, PARENT: str(os.getpid()), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            words, env=variables, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace"
        )
        try:
            for line in process.stdout or ():
                if line.strip():
                    console.say(line.rstrip())
            code = process.wait()
        finally:
            end([process])
        said.seek(0)
        return code, said.read()[-2000:].strip()
