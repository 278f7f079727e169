"""What a session left, into the workspace: verified, resumed, and nothing over what is done here."""

import time
from collections.abc import Sequence
from pathlib import Path

from kit import console, schema
from kit.config import Experiment
from kit.errors import KitError, counted
from kit.kaggle.kernels import Kernels, Session
from kit.run.frozen import write_frozen
from kit.run.run import Run
from kit.runners.kaggle.cargo import at_home
from kit.runners.kaggle.manifest import NAME, Manifest, is_done
from kit.workspace import Fold, file_hash

LATE = 600.0  # seconds that outputs may be late


class Fetcher:
    """`runs` are those that sessions may bring files of."""

    def __init__(self, runs: Sequence[Run], kernels: Kernels) -> None:
        self._runs, self._kernels = runs, kernels
        self._workspace, self._competition = runs[0].workspace, runs[0].competition

    def fetch(self, session: Session, poll: float) -> Manifest:
        """Raises `KitError` where the session's files are not those of its manifest, or do not come."""
        manifest = self._manifest(session, poll)
        wanted = [name for name in manifest.files if self._is_wanted(name, manifest.files[name])]
        if wanted:
            console.stage("kaggle", f"fetching {counted(len(wanted), 'file')} of {session.slug}")
        for name in wanted:
            self._fetch_one(session, name, manifest.files[name])
        stamps = [name for name in manifest.hidden if self._is_wanted(name, "")]  # before one of them is written
        manifest.unfold(self._workspace.root, stamps.__contains__)
        return manifest

    def has_manifest(self, session: Session) -> bool:
        return NAME in self._kernels.outputs(session)

    def _manifest(self, session: Session, poll: float) -> Manifest:
        """Waits for outputs that are late."""
        path, ends = self._workspace.run("x").with_name(f".{session.slug}.manifest"), time.monotonic() + LATE
        while True:
            there = self._kernels.outputs(session)
            if NAME in there:
                path.unlink(missing_ok=True)
                self._kernels.fetch(session, NAME, path, lambda _: None)
                manifest = Manifest.read(path)
                path.unlink()
                if set(manifest.files) <= set(there):
                    return manifest
            if time.monotonic() > ends:
                raise KitError(f"{session.slug}: it ended, and Kaggle does not show all its files; try again later")
            time.sleep(poll)

    def _is_wanted(self, name: str, digest: str) -> bool:
        path = self._workspace.root / name
        part, *inside = Path(name).parts
        if part == "runs" and not self._is_open(inside):
            return False
        if path.is_file() and path == self._workspace.index(self._competition.name) and file_hash(path) != digest:
            advice = "it was made anew here since; move it away, and its folds"
            raise KitError(f"{path}: is not the index that the runs on Kaggle are made from; {advice}")
        return not path.is_file() or (not self._is_frozen(path) and file_hash(path) != digest)

    def _is_open(self, inside: Sequence[str]) -> bool:
        """May a file of runs/ come from there? No checkpoint, nothing of another run or of a fold that is done here."""
        run = next((run for run in self._runs if run.name == inside[0]), None)
        if run is None or len(inside) < 3 or not inside[1].startswith("fold_"):
            return run is not None
        number = inside[1].removeprefix("fold_")
        fold: Fold = int(number) if number.isdecimal() else "full"
        return not is_done(run, fold) and inside[2] != run.fold(fold).files.checkpoint.name

    def _is_frozen(self, path: Path) -> bool:
        return any(path == run.files.experiment for run in self._runs)

    def _fetch_one(self, session: Session, name: str, digest: str) -> None:
        path = self._workspace.root / name

        def check(came: Path) -> None:
            if file_hash(came) != digest:
                raise KitError(f"{name}: its bytes are not those of the session's manifest; type the command again")

        if not self._is_frozen(path):
            self._kernels.fetch(session, name, path, check)
            return
        came = path.with_name(".there.yaml")
        self._kernels.fetch(session, name, came, check)
        run = next(run for run in self._runs if run.name == path.parent.name)
        there = schema.build(Experiment, schema.read_mapping(came), str(came))
        write_frozen(path, at_home(there, run.asked))
        came.unlink()
