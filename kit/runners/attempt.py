"""What a node of a cluster does: one attempt at a fold, in a folder of its own, renamed into the run's when it is done.

Another attempt may be under way: a node that was cut off goes on writing. It harms nothing, and the first one home
counts. On a shared disk an attempt goes on from the newest checkpoint of the earlier ones; without one the finished
files are sent home as bytes, and an attempt begins anew."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.errors import KitError, reason
from kit.locks import lock
from kit.processes import CORES, PARENT, end
from kit.run.files import FoldFiles, RunFiles
from kit.workspace import Fold, atomic_path

Tell = Callable[[str], None]
Files = dict[str, bytes]
"""Path within the workspace, or within a fold's folder -> its content."""
ATTEMPTS, ASKED = ".attempts", "asked.yaml"  # in a run's folder, in an attempt's


@dataclass(frozen=True)
class Order:
    """What is to be done, as it is sent to a node: to train `fold` of the run in `folder`, or, without one, to settle
    what the run's experiment leaves open. `marker`: a file that only a node on the same disk sees; for others there are
    `files`: the run's own, the tables, the models that it starts from. `until`: seconds since 1970."""

    root: Path
    folder: Path
    fold: Fold | None
    cwd: Path
    marker: Path
    cores: int
    files: Files = field(default_factory=dict)
    until: float | None = None
    asked: str = ""  # to be settled: the experiment's YAML

    @property
    def is_here(self) -> bool:
        return self.marker.is_file()


@dataclass(frozen=True)
class Brought:
    """The files of a node that does not share the disk; `late`: the clock ended it first."""

    files: Files = field(default_factory=dict)
    late: bool = False


@dataclass
class Piece:
    """A task: `needs` must be done first. `make(cores)`: what a node does, made when its turn comes; `take`: what is
    done here with what comes back."""

    name: str
    gpus: int
    cores: int | None  # where the cluster has no GPU; `None`: all of a node's
    make: Callable[[int], Callable[[Tell], Any]]
    take: Callable[[Any], None]
    needs: list["Piece"] = field(default_factory=list)
    state: str = "waits"
    node: str = ""
    said: str = ""


def attempt(order: Order, tell: Tell) -> Brought:
    """Raises `KitError` with the last line of a process that failed."""
    if not order.is_here:
        _lay_out(order)
    where = order.folder / ATTEMPTS if order.is_here else Path(tempfile.gettempdir())
    own = where / f"{'settle' if order.fold is None else f'fold_{order.fold}'}-{uuid.uuid4().hex[:8]}"
    own.mkdir(parents=True)
    try:
        if order.fold is None:
            config = own / ASKED
            config.write_text(order.asked, encoding="utf-8")
            _run(order, config, ["--settle"], tell)
            return _home_settled(order, own)
        _copy_run(order.folder, own)
        epochs = _go_on(order, own) if order.is_here else 0
        tell(f"from epoch {epochs + 1}")
        _run(order, RunFiles(own).experiment, ["--fold", str(order.fold)], tell)
        return _home(order, own)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def newest(folder: Path, fold: Fold) -> FoldFiles:
    """Of a run's folder: the fold's files, or those of the attempt that has come furthest."""
    own = RunFiles(folder).fold(fold)
    there = [own, *(RunFiles(one).fold(fold) for one in (folder / ATTEMPTS).glob(f"fold_{fold}-*"))]
    return max(there, key=lambda files: (files.trained.is_file(), _epochs(files), _time(files.checkpoint)))


def bring_home(folder: Path, fold: Fold) -> None:
    """What attempts have left of a fold that is not done, into the run's folder; nothing else is kept of them."""
    files, own = newest(folder, fold), RunFiles(folder).fold(fold)
    if files.folder != own.folder and not own.trained.is_file():
        shutil.rmtree(own.folder, ignore_errors=True)
        files.folder.rename(own.folder)
    for left in (folder / ATTEMPTS).glob(f"fold_{fold}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / ATTEMPTS).rmdir()


def run_process(words: Sequence[str], cwd: Path, cores: int, tell: Tell) -> None:
    """`kit` with these words; raises `KitError` with its last line where it fails."""
    variables = {**os.environ, PARENT: str(os.getpid()), CORES: str(cores), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", *words], cwd=cwd if cwd.is_dir() else None, env=variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    last = ""
    try:
        for line in process.stdout or ():
            if line.strip():
                last = line.strip()
                tell(last)
        code = process.wait()
    finally:
        end([process])
    if code:
        raise KitError(last.removeprefix("error: ") or f"kit {words[0]} ended with exit code {code}")


def on_shared_disk(words: Sequence[str], marker: Path, cwd: Path, cores: int, tell: Tell) -> None:
    """`run_process`, of a command that reads and writes the workspace where it lies. `marker`: a file that only a node
    on the same disk sees."""
    if not marker.is_file():
        raise KitError(f"{marker.parent}: not on this node; without a shared disk `kit {words[0]}` works here only")
    run_process(words, cwd, cores, tell)


def _run(order: Order, config: Path, more: Sequence[str], tell: Tell) -> None:
    words = ["train", "--inside", "--config", str(config), "--workspace", str(order.root), *more]
    words += ["--on", "here"]
    if order.until is not None:
        words += ["--max-hours", f"{max(0.0, order.until - time.time()) / 3600:.6f}"]
    run_process(words, order.cwd, order.cores, tell)


def _lay_out(order: Order) -> None:
    """On a node with a disk of its own: the tables and the earlier models, beside the pictures that are there."""
    raw = next((order.root / name for name in order.files if name.endswith("index.csv")), order.root).with_name("raw")
    if not raw.is_dir():
        raise KitError(f"{raw}: not on this node; put the competition's files there, or share a disk")
    for name, content in order.files.items():
        place = order.root / name
        if not place.is_file() or place.read_bytes() != content:
            _write(place, content)


def _copy_run(folder: Path, own: Path) -> None:
    for path in run_files(folder):
        if path.is_file():
            shutil.copy2(path, own / path.name)


def run_files(folder: Path) -> list[Path]:
    """What a run is made by."""
    files = RunFiles(folder)
    return [files.experiment, files.environment, files.folds]


def _go_on(order: Order, own: Path) -> int:
    """Copy what earlier attempts left; returns the epochs that they did."""
    assert order.fold is not None
    files = newest(order.folder, order.fold)
    if files.folder.is_dir():
        skipped = shutil.ignore_patterns(".lock", "*.tmp")
        shutil.copytree(files.folder, RunFiles(own).fold(order.fold).folder, ignore=skipped, dirs_exist_ok=True)
    return _epochs(files)


def _home_settled(order: Order, own: Path) -> Brought:
    """The experiment as settled; of several the first one counts."""
    if not order.is_here:
        return Brought({path.name: path.read_bytes() for path in run_files(own)})
    for path in reversed(run_files(own)):  # the experiment last: it says that the run is made
        if not RunFiles(order.folder).experiment.is_file():
            path.replace(order.folder / path.name)
    return Brought()


def _home(order: Order, own: Path) -> Brought:
    assert order.fold is not None
    files, home = RunFiles(own).fold(order.fold), RunFiles(order.folder).fold(order.fold)
    if not files.trained.is_file():
        if order.is_here:  # for whoever goes on with it
            bring_home(order.folder, order.fold)
        return Brought(late=True)
    if not order.is_here:
        names = [path for path in files.folder.iterdir() if path.is_file() and path.name != files.lock.name]
        return Brought({path.name: path.read_bytes() for path in names})
    if not home.trained.is_file():
        try:
            with lock(home.lock, str(home.folder)):  # nobody trains it there
                shutil.rmtree(home.folder, ignore_errors=True)
                files.folder.rename(home.folder)
        except OSError as error:
            if not home.trained.is_file():
                raise KitError(f"{home.folder}: {reason(error)}") from None
    return Brought()


def write_home(stamp: Path, files: Mapping[str, bytes]) -> None:
    """A finished fold's, or a settled run's, files beside the one that says that they are whole, which is written last;
    of several the first ones count."""
    if stamp.is_file():
        return
    for name in sorted(files, key=lambda name: name == stamp.name):
        _write(stamp.with_name(name), files[name])


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _epochs(files: FoldFiles) -> int:
    return len(files.metrics.read_text(encoding="utf-8").splitlines()) if files.metrics.is_file() else 0


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0
