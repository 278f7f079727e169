"""Kaggle's GPUs: sessions that train and predict the folds of runs, one after the other, until all of them are here.

Kaggle is asked what there is, by the kernel's slug, which holds a hash of what was asked for: killed at any moment, the
same command goes on where it was."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kit import console
from kit.errors import KitError, examples
from kit.kaggle.datasets import Datasets
from kit.kaggle.kernels import Kernel, Kernels, RefusedError, Session, slugified
from kit.locks import lock
from kit.run.run import Run
from kit.runners.kaggle import cargo
from kit.runners.kaggle.fetching import Fetcher
from kit.runners.kaggle.following import POLL, follow, start
from kit.runners.kaggle.manifest import is_done
from kit.runners.kaggle.pictures import Ask, Shelf, put_pictures
from kit.workspace import Fold, expanded, fingerprint, read_json, write_json, write_text

HOURS = 11.0  # of a session, below Kaggle's 12
LETTERS = 32  # of a run's name in a slug of at most 50


class Sessions:
    """`runs` are of one competition; one of them may start from an earlier one. `ask`: may the files of a competition
    that is not on Kaggle be put there? `shelf`: where what is mounted is put; default: the account's datasets."""

    def __init__(
        self, runs: Sequence[Run], folds: Sequence[Fold], name: str, hours: float | None = None,
        ask: Ask | None = None, shelf: Shelf | None = None,
    ) -> None:  # fmt: skip
        self.runs, self.folds, self._ask, self._given_shelf = runs, list(folds), ask, shelf
        self._hours = min(HOURS, HOURS if hours is None else hours)
        cargo.refuse_what_stays_here(runs)
        self.workspace, self.competition = runs[0].workspace, runs[0].competition
        asked = [run.asked.facts() for run in runs]
        self.base = f"kit-{slugified(name)[:LETTERS].strip('-')}-{fingerprint(asked, self.folds)[:8]}"
        self._note = self.workspace.run("x").with_name(f".{self.base}.json")

    def slug(self, number: int) -> str:
        return self.base if number == 1 else f"{self.base}-s{number}"

    @property
    def left(self) -> list[Fold]:
        """The folds that are not here yet, of some run."""
        return [fold for fold in self.folds if not all(is_done(run, fold) for run in self.runs)]

    def finish(self) -> None:
        """Push, follow and fetch until nothing is left. Raises `KitError` where a session failed or brought nothing."""
        with lock(self._note.with_suffix(".lock"), f"{self.base} on Kaggle"):
            number, session = self._newest() if self.left else (1, None)
            while self.left:
                if session is None or self._was_reported(session):
                    session = self._start(number, session)
                session = follow(self._kernels, session, POLL)
                if session.status != "COMPLETE":
                    self._give_up(session)
                if self._fetcher.fetch(session, POLL).brought_nothing and self.left:
                    self._report(session)
                    advice = "the same command with more --max-hours, or of a smaller model, starts another"
                    raise KitError(f"{session.slug}: the session got no further; {advice}")
                number, session = number + 1, None

    @cached_property
    def _kernels(self) -> Kernels:
        return Kernels.connect()

    @cached_property
    def _shelf(self) -> Shelf:
        return self._given_shelf or Datasets.connect()

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self.runs, self._kernels)

    def fetch(self) -> None:
        """What there is, without starting anything. Raises `KitError` where there is no session that has ended."""
        _, session = self._newest()
        if session is None or session.goes_on:
            state = "there is no such session" if session is None else "it is still running"
            raise KitError(f"{self.base} on Kaggle: {state}; `kit run --on kaggle` starts or follows it")
        self._fetcher.fetch(session, POLL)
        here = examples((fold for fold in self.folds if fold not in self.left), 9) or "none"
        console.stage("kaggle", f"folds that are done here: {here}; left: {examples(self.left, 9) or 'none'}")

    def write(self, folder: Path) -> Path:
        """What would be pushed first, as the `kaggle` command takes it: `kaggle kernels push -p FOLDER`."""
        kernel = self.kernel(1, self._hours)
        place = folder / kernel.slug
        write_text(place / "script.py", kernel.text)
        write_json(place / "kernel-metadata.json", kernel.metadata(self._kernels.owner))
        return place

    def _newest(self) -> tuple[int, Session | None]:
        """(its number, the last session that there is); what it left is fetched by what follows."""
        number, newest = 1, None
        while (found := self._kernels.find(self.slug(number))) is not None:
            newest, number = found, number + 1
        return max(1, number - 1), newest

    def kernel(self, number: int, hours: float) -> Kernel:
        """Uploads what is too large for the script: files of weights, and tables."""
        slug, put = self.slug(number), self._shelf.put
        raw = "" if self.competition.slug else put_pictures(self.runs[0], self._ask, self._shelf)
        weights = sorted({expanded(run.asked.model.weights) for run in self.runs if cargo.has_own_weights(run.asked)})
        task = cargo.Task(
            slug, self.competition.slug, [cargo.localised(run.asked) for run in self.runs],
            self.left, hours, raw, put("weights", weights) if weights else "",
            previous=f"{self._kernels.owner}/{self.slug(number - 1)}" if number > 1 else "",
        )  # fmt: skip
        settings = cargo.settings_for(self.runs)
        tables = json.dumps(cargo.tables_for(self.runs)) if number == 1 else "{}"  # the session before has them
        text = cargo.script(task, {**settings, cargo.TABLES: tables})
        if len(text) > cargo.MOST_BYTES:
            with tempfile.TemporaryDirectory() as place:
                write_text(Path(place) / cargo.TABLES, tables)
                task = replace(task, tables=put("tables", [Path(place) / cargo.TABLES]))
            text = cargo.script(task, settings)
        return Kernel(slug, text, task.competition, task.datasets, (task.previous,) if task.previous else ())

    def _start(self, number: int, session: Session | None) -> Session:
        quota = self._kernels.quota()
        if quota.left <= 0:
            raise RefusedError(f"Kaggle's GPU quota is used up: {quota}")
        hours = min(self._hours, quota.left)
        most = console.duration(hours * 3600)
        console.stage("kaggle", f"{quota}; this session takes at most {most}, whatever the number of GPUs")
        return start(self._kernels, self.kernel(number, hours), session, POLL)

    def _give_up(self, session: Session) -> None:
        """The session failed: say why, once; the next command starts another."""
        self._report(session)
        why = session.failure
        if self._fetcher.has_manifest(session):
            why = self._fetcher.fetch(session, POLL).error or why  # finished folds are kept
        ended = {"ERROR": "failed", "CANCEL_ACKNOWLEDGED": "was cancelled"}.get(session.status, session.status)
        advice = "the same command starts another session"
        raise KitError(f"{session.slug} {ended} on Kaggle: {why or 'no reason given; its log is above'}; {advice}")

    def _report(self, session: Session) -> None:
        write_json(self._note, {"reported": [session.slug, session.version]})

    def _was_reported(self, session: Session) -> bool:
        if session.goes_on or not self._note.is_file():
            return False
        return bool(read_json(self._note)["reported"] == [session.slug, session.version])
