"""What a session leaves in /kaggle/working: a workspace's tables and runs, and, written last, the manifest."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from kit.errors import KitError
from kit.run.run import Run
from kit.workspace import Fold, file_hash, read_json, write_json, write_text

NAME = "kit-manifest.json"
PARTS = ("data", "runs")
Progress = dict[str, dict[str, Any]]
"""Run -> fold -> its epochs, or `trained`, or `predicted`."""


@dataclass(frozen=True)
class Manifest:
    """`files`: path within the workspace -> its sha256; `hidden`: those whose name begins with a dot, which a list of
    outputs may leave out, with their text; `error`: what ended the session early."""

    slug: str
    files: Mapping[str, str]
    hidden: Mapping[str, str] = field(default_factory=dict)
    before: Progress = field(default_factory=dict)
    after: Progress = field(default_factory=dict)
    error: str = ""

    @classmethod
    def of(cls, folder: Path, slug: str, before: Progress, after: Progress, error: str) -> Self:
        """Of everything in `folder`."""
        paths = [path for part in PARTS for path in sorted((folder / part).rglob("*")) if path.is_file()]
        named = {path.relative_to(folder).as_posix(): path for path in paths if path.suffix not in {".lock", ".tmp"}}
        hidden = {
            name: path.read_text("utf-8") for name, path in named.items() if path.suffix == ".json" and _is_hidden(name)
        }
        files = {name: file_hash(path) for name, path in named.items() if not _is_hidden(name)}
        return cls(slug, files, hidden, before, after, error)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `KitError` where it is none, or names a file that leads out of the workspace."""
        try:
            made = cls(**read_json(path))
        except TypeError as error:
            raise KitError(f"{path}: not the manifest of a session ({error})") from None
        for name in (*made.files, *made.hidden):
            parts = PurePosixPath(name).parts
            if not parts or parts[0] not in PARTS or ".." in parts or "\\" in name or ":" in name:
                raise KitError(f"{path}: the file '{name}' would leave the workspace; nothing was fetched")
        return made

    def write(self, folder: Path) -> None:
        write_json(folder / NAME, vars(self))

    def unfold(self, workspace: Path, wanted: Callable[[str], bool]) -> None:
        """Write the hidden files: stamps, which say that the others are whole."""
        for name, text in self.hidden.items():
            if wanted(name):
                write_text(workspace / name, text)

    @property
    def brought_nothing(self) -> bool:
        return self.before == self.after


def progress(runs: Iterable[Run], folds: Iterable[Fold]) -> Progress:
    """How far each fold of each run is."""
    wanted = list(folds)
    return {run.name: {str(fold): _how_far(run, fold) for fold in wanted} for run in runs}


def is_done(run: Run, fold: Fold) -> bool:
    files = run.fold(fold).files
    return files.trained.is_file() and files.predicted.is_file()


def _how_far(run: Run, fold: Fold) -> int | str:
    one = run.fold(fold)
    if is_done(run, fold):
        return "predicted"
    return "trained" if one.is_trained else len(one.history)


def _is_hidden(name: str) -> bool:
    return PurePosixPath(name).name.startswith(".")
