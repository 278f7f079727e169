"""Batches of uint8 pixels, gathered from the cache. Normalisation happens in the model, on its device."""

import math
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from kit import console
from kit.batch import Batch
from kit.data.pixels import Bags, Pixels, one_by_one
from kit.data.transforms import Augment, resized
from kit.errors import KitError, reason
from kit.processes import START_METHOD
from kit.randomness import key

SHARED_MEMORY = Path("/dev/shm")  # of Linux; Docker gives 64 MB
PREFETCH = 2  # batches that a worker is ahead
DEADLINE = 300  # seconds for a batch
GRACE = 3  # seconds from a SIGTERM to a worker's end


@dataclass(frozen=True)
class Batches(Dataset):
    """One epoch's batches; item `step` is a whole batch, so any worker can make any of them."""

    pixels: Pixels  # uint8 (N, cache, cache, 3)
    targets: np.ndarray  # as in `data.table`
    order: np.ndarray  # int64 (num_steps * B or fewer,): rows of the index
    batch_size: int
    image_size: int
    augment: Augment | None = None
    image_key: tuple[int | str, ...] = ()
    columns: np.ndarray | None = None  # float32 (N, F)
    share: tuple[int, int] = (0, 1)  # (rank, world): the part of each batch that is this process's

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, step: int) -> Batch:
        whole, (rank, world) = self.order[step * self.batch_size : (step + 1) * self.batch_size], self.share
        rows = np.array_split(whole, world)[rank]
        held, shown, owners = self._pictures(rows)
        if self.augment is None and held.shape[1] == self.image_size:
            images = held[shown]
        else:
            images = np.empty((len(shown), self.image_size, self.image_size, held.shape[3]), np.uint8)
            for place, image in enumerate(one_by_one(held, shown)):
                if self.augment is not None:
                    image = self.augment(image, key("image", *self.image_key, int(rows[place])))
                images[place] = resized(image, self.image_size)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        targets = torch.from_numpy(self.targets[rows])
        columns = torch.from_numpy(self.columns[rows]) if self.columns is not None else None
        return Batch(pixels, targets, torch.from_numpy(rows), len(whole) if world > 1 else None, owners, columns)

    def _pictures(self, rows: np.ndarray) -> tuple[Pixels, np.ndarray, torch.Tensor | None]:
        """(where the pictures are, which rows of it; whose each is, where samples have several). In training, where
        there is an `image_key`, one of each sample's, drawn anew in every epoch."""
        if not isinstance(self.pixels, Bags):
            return self.pixels, rows, None
        if self.image_key:
            drawn = [self.pixels.one_of(int(row), key("picture", *self.image_key, int(row))) for row in rows]
            return self.pixels.pictures, np.array(drawn, np.int64), None
        shown, owners = self.pixels.all_of(rows)
        return self.pixels.pictures, shown, torch.from_numpy(owners)

    def stream(self, start: int = 0, num_workers: int = 0, pin_memory: bool = False) -> Iterator[Batch]:
        """The batches from step `start` on, in order, prepared by `num_workers` processes, or as many as the shared
        memory is large enough for. `KitError` where one of them is killed, or hangs."""
        num_workers = workers_that_fit(num_workers, self.batch_size * self.image_size**2 * 3)
        workers: dict[str, Any] = {"num_workers": num_workers, "worker_init_fn": _quiet_worker}
        if num_workers:
            workers |= {"multiprocessing_context": START_METHOD, "prefetch_factor": PREFETCH, "timeout": DEADLINE}
        steps = range(start, len(self))
        loader = DataLoader(self, batch_size=None, sampler=steps, pin_memory=pin_memory, **workers)
        try:
            batches = iter(loader)
            _Ended.listen()
            yield from batches
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            raise lost_worker(error) from None


def lost_worker(error: RuntimeError) -> KitError:
    advice = "too little memory? --set machine.num_workers=0 goes on without such processes"
    return KitError(f"a process that prepares batches was ended, or hung ({reason(error)}): {advice}")


@dataclass(frozen=True)
class _Ended:
    """In place of torch's handler of SIGCHLD, which raises its `RuntimeError` wherever the main thread is when a worker
    is killed, mostly in the middle of a training step: a `KitError` there."""

    torchs: Callable[[int, FrameType | None], Any]

    @classmethod
    def listen(cls) -> None:
        """Once torch has set its own."""
        is_main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGCHLD) if is_main and hasattr(signal, "SIGCHLD") else None
        if callable(handler) and not isinstance(handler, cls):
            signal.signal(signal.SIGCHLD, cls(handler))

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.torchs(number, frame)
        except RuntimeError as error:
            raise lost_worker(error) from None


@cache
def workers_that_fit(num_workers: int, batch_bytes: int) -> int:
    """As many of these workers as the shared memory has room for; said once, where it is too small for all of them."""
    if not num_workers or not SHARED_MEMORY.is_dir():
        return num_workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    fitting = min(num_workers, int(0.8 * free) // ((PREFETCH + 1) * batch_bytes))
    if fitting < num_workers:
        small = f"{SHARED_MEMORY} has {free / 1e6:,.0f} MB free (docker run --shm-size=2g gives more)"
        console.warn(f"{small}: {fitting} of {num_workers} processes prepare the batches")
    return fitting


def epoch_order(rows: np.ndarray, batch_size: int, seed: int, fold: int | str, epoch: int) -> np.ndarray:
    """`rows` shuffled for this epoch; those that do not fill a last batch are left to another epoch."""
    shuffled = np.random.default_rng(key("order", seed, fold, epoch)).permutation(rows)
    whole = len(rows) // batch_size * batch_size
    return shuffled[: whole or len(rows)]


def workers_needed(network: float, one_core: float, cores: int, on_gpu: bool) -> int:
    """How many processes prepare batches, from images/s of the network and of one preparing core. Beside a GPU the main
    process prepares the next batch while the GPU works; where that takes more than a third of the GPU's time, processes
    take over, with a fifth to spare. On a CPU every process takes a core from the network (on two cores, one idle
    process made training three times slower), so they are used only where preparing is the longer part of the work."""
    if not on_gpu:
        return cores if one_core * cores < network and cores > 1 else 0
    return 0 if network < one_core / 3 else min(cores, math.ceil(1.2 * network / one_core))


def _quiet_worker(_: int) -> None:
    """Ctrl-C and a SIGTERM to the whole process group (a cluster's, timeout's) are for the main process, which ends its
    workers; one that outlives it by GRACE ends by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # any other status is reported at once, as a lost worker
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
