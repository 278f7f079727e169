"""A session on Kaggle: what runs there, in the script that `kit run --on kaggle` pushed."""

import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path

from kit import console, schema
from kit.config import Experiment
from kit.data.places import in_raw
from kit.errors import KitError, reason
from kit.run.run import Run
from kit.runners.kaggle.cargo import TABLES, Task
from kit.runners.kaggle.manifest import NAME, PARTS, Manifest, is_done, progress
from kit.runners.kaggle.mounts import mount, unfold
from kit.stages.download import download
from kit.stages.explore import explore
from kit.stages.index import index
from kit.stages.predict import predict
from kit.stages.split import split
from kit.stages.train import train
from kit.workspace import Workspace, read_json


def session(kaggle: str, cargo: str) -> int:
    """Do the task in `cargo`, where the script was unpacked; `kaggle` is /kaggle. Everything worth keeping lies in its
    working/ at the end, the manifest last. Returns the exit code."""
    began, place = time.monotonic(), Path(cargo)
    os.chdir(place)
    task = Task(**read_json(place / "task.json"))
    working = Path(kaggle) / "working"
    workspace = _workspace(working)
    try:
        unfold(mount(Path(kaggle), "datasets", task.tables, TABLES) if task.tables else place, workspace.root)
        if task.previous:
            _take_over(mount(Path(kaggle), "notebooks", task.previous, NAME), workspace)
        if task.weights:
            (place / "weights").symlink_to(mount(Path(kaggle), "datasets", task.weights, "*"))
        runs = [Run.open(schema.build(Experiment, raw, raw["name"]), workspace) for raw in task.experiments]
    except KitError as failure:
        console.error(str(failure))
        return 1
    before, error = progress(runs, task.folds), ""
    try:
        _work(task, runs, Path(kaggle), began + task.hours * 3600)
    except Exception as failure:  # whatever it is, what is done is kept
        error = str(failure) if isinstance(failure, KitError) else f"{type(failure).__name__}: {reason(failure)}"
        console.error(error)
        if not isinstance(failure, KitError):
            traceback.print_exc()
    _keep_tables(runs[0], working)
    Manifest.of(working, task.slug, before, progress(runs, task.folds), error).write(working)
    console.stage("session", f"done in {console.duration(time.monotonic() - began)}")
    return 1 if error else 0


def _work(task: Task, runs: list[Run], kaggle: Path, deadline: float) -> None:
    first = runs[0]
    source = mount(kaggle, "datasets", task.raw, "*") if task.raw else mount(kaggle, "competitions", task.competition)
    download(first, source)
    if not first.workspace.index(first.competition.name).is_file():  # made once: it may have come from elsewhere
        index(first)
        explore(first)
    for run in runs:
        split(run)
        wanted = [fold for fold in task.folds if not is_done(run, fold)]
        if not wanted:
            continue
        left = max(0.0, deadline - time.monotonic()) / 3600
        if not train(run, wanted, max_hours=left).finished:
            return
        predict(run, wanted)


def _workspace(working: Path) -> Workspace:
    """Runs are written straight into `working`; pictures and pixels lie elsewhere and are no output."""
    root = Path(tempfile.mkdtemp(prefix="kit-workspace-"))
    (working / "runs").mkdir(parents=True, exist_ok=True)
    (root / "runs").symlink_to(working / "runs")
    return Workspace(root)


def _take_over(output: Path, workspace: Workspace) -> None:
    """What the session before left, where it is not here yet."""
    manifest = Manifest.read(output / NAME)
    for part in PARTS:
        _copy(output / part, workspace.root / part)
    manifest.unfold(workspace.root, lambda name: not (workspace.root / name).exists())
    console.stage("session", f"goes on from {manifest.slug}")


def _copy(source: Path, target: Path) -> None:
    """File by file, without the modes of a read-only mount; what is there stays."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_file() and not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def _keep_tables(run: Run, working: Path) -> None:
    """The competition's tables: index, folds, statistics, and the sample submission. No pictures."""
    workspace, competition = run.workspace, run.competition
    data = workspace.data(competition.name)
    small = [path for path in data.glob("*") if path.suffix in {".csv", ".json"} and not path.name.startswith("extra-")]
    small += (data / "figures").glob("*.png")
    roles = competition.files.roles()
    for role in ("sample_submission", "test_ids"):
        small += (in_raw(workspace.raw(competition.name), roles[role]) or []) if role in roles else []
    for path in small:
        to = working / path.relative_to(workspace.root)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
