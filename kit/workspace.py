"""Every path on disk, atomic writes, fingerprints.

A workspace is a folder with data/, runs/ and submissions/ (layout: README.md). Files appear complete or not at all."""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.errors import KitError
from kit.processes import HOST, mark, may_live

Fold = int | Literal["full"]
_FULL = 1 << 20  # bytes free on a disk that is full for all we do
_FOREIGN_SECONDS = 86_400  # what another host has not finished writing after that is left over


@dataclass(frozen=True)
class Workspace:
    """The paths of one workspace. Nothing is created until something is written."""

    root: Path

    def data(self, competition: str) -> Path:
        return self.root / "data" / competition

    def raw(self, competition: str) -> Path:
        return self.data(competition) / "raw"

    def index(self, competition: str) -> Path:
        return self.data(competition) / "index.csv"

    def stats(self, competition: str) -> Path:
        return self.data(competition) / "stats.json"

    def figures(self, competition: str) -> Path:
        return self.data(competition) / "figures"

    def cache(self, competition: str) -> Path:
        return self.data(competition) / "cache"

    def folds(self, competition: str, num_folds: int, seed: int) -> Path:
        return self.data(competition) / f"folds-{num_folds}-{seed}.csv"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, name: str) -> Path:
        return self.runs / name

    def search(self, name: str) -> Path:
        return self.root / "searches" / name

    def leaderboard(self, competition: str) -> Path:
        return self.data(competition) / "leaderboard.csv"

    def speeds(self) -> Path:
        return self.root / "data" / ".speeds.json"

    def submission(self, name: str) -> Path:
        return self.root / "submissions" / f"{name}.csv"


def expanded(path: str | Path) -> Path:
    """`~` as the home folder; where there is none (a container's user without a name) it stays as it is."""
    return Path(os.path.expanduser(path))


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; on success it is flushed to disk and renamed, on failure removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{mark()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except Exception:
        if shutil.disk_usage(path.parent).free < _FULL:  # each library reports it in its own way
            raise KitError(f"{path}: no space left on the disk; free some and type the same command again") from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place on success; an old `path` is kept until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{mark()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        old = path.with_name(f".{path.name}.{mark()}.old")
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder`; what a live one is writing stays."""
    for left in [*folder.glob(".*.tmp"), *folder.glob(".*.old")]:
        writer = left.name.split(".")[-2]
        foreign = "-" in writer and not writer.startswith(f"{HOST}-")
        if may_live(writer) and not (foreign and time.time() - left.lstat().st_mtime > _FOREIGN_SECONDS):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def require_free(folder: Path, needed: int, what: str) -> None:
    """Raise `KitError` where `needed` bytes (and a twentieth more) for `what` do not fit on the folder's disk."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise KitError(f"{folder}: {what} needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; make room first")


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON; NaN, which JSON does not have, as null."""
    write_text(path, json.dumps(without_nan(value), indent=2, ensure_ascii=False) + "\n")


def without_nan(value: Any) -> Any:
    """Dictionaries and lists with `None` for every NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(f"{path}: cannot be read as JSON: {error}") from None


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """sha256 of JSON-able parts: equal inputs, equal fingerprint."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
