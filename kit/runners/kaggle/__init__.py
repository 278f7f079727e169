"""Kaggle's GPUs: sessions that train and predict the folds of runs, one after the other, until all of them are here.

Kaggle is asked what there is, by the kernel's slug, which holds a hash of what was asked for: killed at any moment, the
same command goes on where it was."""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from kit import console, schema
from kit.config import Experiment
from kit.errors import KitError
from kit.kaggle.datasets import Datasets
from kit.kaggle.kernels import Kernel, Kernels, RefusedError, Session, slugified
from kit.locks import lock
from kit.run.frozen import write_frozen
from kit.run.run import Run
from kit.runners.kaggle import cargo
from kit.runners.kaggle.following import POLL, follow
from kit.runners.kaggle.manifest import NAME, Manifest, is_done
from kit.workspace import Fold, expanded, file_hash, fingerprint, read_json, write_json

HOURS = 11.0  # of a session, below Kaggle's 12
LATE = 600.0  # seconds that outputs may be late
BUSY = 60.0  # seconds between two tries while other sessions run
LETTERS = 32  # of a run's name in a slug of at most 50


class Sessions:
    """`runs` are of one competition; one of them may start from an earlier one. `raw`: owner/slug of a dataset with the
    competition's files, where it is not on Kaggle."""

    def __init__(
        self, runs: Sequence[Run], folds: Sequence[Fold], name: str, hours: float | None = None, raw: str = "",
    ) -> None:  # fmt: skip
        self.runs, self.folds, self.raw = runs, list(folds), raw
        self._hours = HOURS if hours is None else hours
        self.workspace, self.competition = runs[0].workspace, runs[0].competition
        asked = [schema.to_mapping(run.asked) for run in runs]
        self.base = f"kit-{slugified(name)[:LETTERS].strip('-')}-{fingerprint(asked, self.folds)[:8]}"
        self._note = self.workspace.run("x").with_name(f".{self.base}.json")

    def slug(self, number: int) -> str:
        return self.base if number == 1 else f"{self.base}-s{number}"

    @property
    def left(self) -> list[str]:
        """What is not here yet."""
        return [f"{run.name} fold {fold}" for run in self.runs for fold in self.folds if not is_done(run, fold)]

    def finish(self) -> None:
        """Push, follow and fetch until nothing is left. Raises `KitError` where a session failed or brought nothing."""
        with lock(self._note.with_suffix(".lock"), f"{self.base} on Kaggle"):
            number, session = self._newest()
            while self.left:
                if session is None or self._was_reported(session):
                    session = self._start(number, before=session.version if session else 0)
                session = follow(self._kernels, session, POLL)
                if session.status != "COMPLETE":
                    self._give_up(session)
                if self._fetch(session).brought_nothing and self.left:
                    raise KitError(f"{session.slug}: the session got no further; more --max-hours, or a smaller model")
                number, session = number + 1, None

    @cached_property
    def _kernels(self) -> Kernels:
        return Kernels.connect()

    def _newest(self) -> tuple[int, Session | None]:
        """(its number, the last session that there is); what it left is fetched by what follows."""
        number, newest = 1, None
        while self.left and (found := self._kernels.find(self.slug(number))) is not None:
            newest, number = found, number + 1
        return max(1, number - 1), newest

    def task(self, number: int, hours: float) -> cargo.Task:
        """Uploads what the session has to mount."""
        weights = [expanded(run.asked.model.weights) for run in self.runs if cargo.has_own_weights(run.asked)]
        mounted = Datasets.connect().put("weights", sorted(set(weights))) if weights else ""
        previous = f"{self._kernels.owner}/{self.slug(number - 1)}" if number > 1 else ""
        experiments = [cargo.localised(run.asked) for run in self.runs]
        slug = self.competition.slug if not self.raw else None
        return cargo.Task(self.slug(number), slug, experiments, self.folds, hours, self.raw, mounted, previous)

    def kernel(self, task: cargo.Task) -> Kernel:
        datasets = tuple(filter(None, (task.raw, task.weights)))
        kernels = (task.previous,) if task.previous else ()
        return Kernel(task.slug, cargo.script(task, cargo.files_for(self.runs)), task.competition, datasets, kernels)

    def _start(self, number: int, before: int) -> Session:
        quota = self._kernels.quota()
        if quota.left <= 0:
            raise RefusedError(f"Kaggle's GPU quota is used up: {quota}")
        hours = min(self._hours, quota.left)
        console.stage("kaggle", f"{quota}; this session takes at most {hours:.1f}, whatever the number of GPUs")
        kernel, waiting = self.kernel(self.task(number, hours)), False
        while True:
            try:
                session = self._kernels.push(kernel, before)
                console.stage(
                    "kaggle", f"{kernel.slug} started: https://www.kaggle.com/code/{self._kernels.owner}/{kernel.slug}"
                )
                return session
            except RefusedError as refused:
                if not refused.busy:
                    raise RefusedError(f"{refused} ({quota})") from None
                if not waiting:
                    console.stage("kaggle", f"{refused} Waiting for one of them to end")
                waiting = True
                time.sleep(min(BUSY, 4 * POLL))

    def _fetch(self, session: Session) -> Manifest:
        """What the session left, into the workspace; what is done here stays."""
        manifest = self._manifest(session)
        wanted = [name for name in manifest.files if self._is_wanted(name, manifest.files[name])]
        if wanted:
            console.stage("kaggle", f"fetching {len(wanted)} files of {session.slug}")
        for name in wanted:
            self._fetch_one(session, name, manifest.files[name])
        stamps = [name for name in manifest.hidden if self._is_wanted(name, "")]  # before one of them is written
        manifest.unfold(self.workspace.root, stamps.__contains__)
        return manifest

    def _manifest(self, session: Session) -> Manifest:
        """Waits for outputs that are late."""
        path, ends = self._note.with_suffix(".manifest"), time.monotonic() + LATE
        while True:
            there = self._kernels.outputs(session)
            if NAME in there:
                path.unlink(missing_ok=True)
                self._kernels.fetch(session, NAME, path, lambda _: None)
                manifest = Manifest.read(path)
                if manifest.slug != session.slug or set(manifest.files) <= set(there):
                    path.unlink(missing_ok=True)
                    return manifest
            if time.monotonic() > ends:
                raise KitError(f"{session.slug}: it ended, and Kaggle does not show its files; try again later")
            time.sleep(POLL)

    def _is_wanted(self, name: str, digest: str) -> bool:
        path = self.workspace.root / name
        part, *inside = Path(name).parts
        if path.name == "last.ckpt" or (part == "runs" and not self._is_open(inside)):
            return False
        if path.is_file() and path == self.workspace.index(self.competition.name) and file_hash(path) != digest:
            advice = "it was made anew here since; move it away, and its folds"
            raise KitError(f"{path}: is not the index that the runs on Kaggle are made from; {advice}")
        frozen = path.name == "experiment.yaml" and part == "runs"
        return not path.is_file() or (not frozen and file_hash(path) != digest)

    def _is_open(self, inside: Sequence[str]) -> bool:
        """May a file of runs/ come from there: not of another run, nor of a fold that is done here."""
        run = next((run for run in self.runs if run.name == inside[0]), None)
        if run is None or len(inside) < 3 or not inside[1].startswith("fold_"):
            return run is not None
        number = inside[1].removeprefix("fold_")
        return not is_done(run, int(number) if number.isdecimal() else "full")

    def _fetch_one(self, session: Session, name: str, digest: str) -> None:
        path = self.workspace.root / name

        def check(came: Path) -> None:
            if file_hash(came) != digest:
                raise KitError(f"{name}: its bytes are not those of the session's manifest; type the command again")

        if path.name != "experiment.yaml":
            self._kernels.fetch(session, name, path, check)
            return
        came = path.with_name(".experiment.there.yaml")
        self._kernels.fetch(session, name, came, check)
        run = next(run for run in self.runs if run.name == path.parent.name)
        there = schema.build(Experiment, schema.read_mapping(came), str(came))
        write_frozen(path, cargo.at_home(there, run.asked))
        came.unlink()

    def _give_up(self, session: Session) -> None:
        """The session failed: say why, once; the next command starts another."""
        write_json(self._note, {"reported": [session.slug, session.version]})
        why = session.failure
        if NAME in self._kernels.outputs(session):
            why = self._fetch(session).error or why  # finished folds are kept
        ended = {"ERROR": "failed", "CANCEL_ACKNOWLEDGED": "was cancelled"}.get(session.status, session.status)
        advice = "the same command starts another session"
        raise KitError(f"{session.slug} {ended} on Kaggle: {why or 'no reason given; its log is above'}; {advice}")

    def _was_reported(self, session: Session) -> bool:
        if session.goes_on or session.status == "COMPLETE" or not self._note.is_file():
            return False
        return bool(read_json(self._note)["reported"] == [session.slug, session.version])
