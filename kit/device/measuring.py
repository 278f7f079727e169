"""Which of a few ways to compute is fastest here, and correct: measured once, remembered, then frozen by a run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kit import console
from kit.device.accelerator import is_out_of_memory, processor
from kit.device.precision import Precision, Wanted
from kit.errors import reason
from kit.workspace import fingerprint, read_json, write_json

FALLING = 0.95  # a try that takes less than this share of the fastest before it: the machine is still warming up
TIE = 0.85  # an earlier candidate that reaches this share of the fastest speed is taken instead: timings scatter
SECONDS = 3.0  # for a candidate's batches, after its first small one; twice as long while they get faster


@dataclass(frozen=True)
class Workload:
    """What is measured: batches through a model. `start(precision)` makes the model ready and returns a function:
    number of images -> seconds that a batch of them takes. `is_right(precision)`: does it compute what fp32 computes,
    except for rounding? `subject` names the work, `num_images` is the batch size."""

    subject: tuple[Any, ...]
    num_images: int
    start: Callable[[Precision], Callable[[int], float]]
    is_right: Callable[[Precision], bool]


@dataclass(frozen=True)
class Trial:
    """One measured candidate. `images_per_second`: 0 where it does not run."""

    precision: Precision
    images_per_second: float


@dataclass(frozen=True)
class Meter:
    """Measures on `device`, and remembers in `memory`, a JSON file of the workspace."""

    device: torch.device
    memory: Path

    def settle(self, work: Workload, wanted: Wanted, compile_if: Callable[[float], bool]) -> list[Trial]:
        """Every trial, the chosen one first; it has speed 0 where nothing runs, or nothing is right.
        `compile_if(images_per_second)`: is there enough work ahead to try torch.compile where that is left open?"""
        trials = self.measured(work, wanted.candidates(self.device))
        best = choose(trials)
        if wanted.name == "auto" and not (best.images_per_second and work.is_right(best.precision)):
            trials = [replace(trial, images_per_second=0.0) for trial in trials]
            exact = self.measured(work, replace(wanted, name="fp32").candidates(self.device))
            trials, best = [*trials, *exact], choose(exact)
        if not (best.images_per_second and work.is_right(best.precision)):
            return [Trial(best.precision, 0.0), *trials]
        if wanted.compile is True or (wanted.compile == "auto" and compile_if(best.images_per_second)):
            compiled = self._compiled(work, replace(best.precision, compiled=True))
            trials.append(compiled)
            forced = wanted.compile is True and compiled.images_per_second > 0
            best = compiled if forced else choose([best, compiled])
        return [best, *(trial for trial in trials if trial is not best)]

    def measured(self, work: Workload, options: Sequence[Precision]) -> list[Trial]:
        """The speeds of `options`: as measured before with this torch on this processor, else measured now."""
        subject = [str(part) for part in (*work.subject, *options)]
        facts = {"subject": subject, "torch": torch.__version__, "processor": processor(self.device)}
        key = fingerprint(facts)
        known = read_json(self.memory) if self.memory.is_file() else {}
        if key not in known:
            trials = [Trial(option, speed(work, option)) for option in options]
            if not any(trial.images_per_second for trial in trials):  # another job may hold the memory right now
                return trials
            known[key] = facts | {"trials": [asdict(trial) for trial in trials]}
            write_json(self.memory, known)
        return [Trial(Precision(**one["precision"]), one["images_per_second"]) for one in known[key]["trials"]]

    def _compiled(self, work: Workload, option: Precision) -> Trial:
        """The compiled trial; speed 0 where this machine cannot compile (no compiler, an unsupported operation)."""
        try:
            trial = self.measured(work, [option])[0]
            return trial if work.is_right(option) else Trial(option, 0.0)
        except Exception as error:  # torch.compile's back ends may raise anything
            console.warn(f"torch.compile does not work here ({reason(error)}); continuing without it")
            return Trial(option, 0.0)


def speed(work: Workload, option: Precision, seconds: float = SECONDS) -> float:
    """Images per second; 0 where there is no memory for it, or an operation lacks this number format. Where a whole
    batch would take too long, an eighth of one is measured, or two images."""
    few = work.num_images if option.compiled else max(2, work.num_images // 8)
    try:
        step = work.start(option)
        if not option.compiled:
            two = warm(step, 2, 4 * seconds / few)
            if two * few / 2 > 2 * seconds:
                return 2 / (two if two > seconds else fastest(partial(step, 2), seconds))
        enough = float("inf") if option.compiled else seconds * few / work.num_images
        count = work.num_images if warm(step, few, enough) < enough else few
        return count / fastest(partial(step, count), seconds)
    except (RuntimeError, NotImplementedError) as error:
        if not is_out_of_memory(error) and (option.name == "fp32" or option.compiled):
            raise
        return 0.0


def warm(step: Callable[[int], float], count: int, enough: float) -> float:
    """Seconds that a batch of `count` takes; where the first takes more than `enough`, the second is asked too: the
    first of a size loads kernels or compiles, and the first of all starts the GPU, which takes seconds."""
    first = step(count)
    return first if first <= enough else min(first, step(count))


def fastest(once: Callable[[], float], seconds: float) -> float:
    """The fastest of 3 to 12 tries (`once` returns seconds) within `seconds`, and of more while they get faster. A
    process that asks for huge pages takes several steps to warm up: the fifth was three times as fast as the first.
    After twice the time, any number of tries is enough."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 12:
        times.append(once())
        taken, before = time.perf_counter() - began, min(times[:-1], default=float("inf"))
        if taken >= 2 * seconds or (len(times) >= 3 and taken >= seconds and times[-1] > FALLING * before):
            break
    return min(times)


def choose(trials: Sequence[Trial]) -> Trial:
    """The first that comes close to the fastest: near-ties fall the same way every time."""
    most = max(trial.images_per_second for trial in trials)
    return next(trial for trial in trials if trial.images_per_second >= TIE * most)
