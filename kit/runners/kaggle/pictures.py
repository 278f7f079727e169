"""A competition that is not on Kaggle: its files as a private dataset there, if its owner says so."""

import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kit.data.places import in_raw
from kit.errors import ConfigError, KitError, examples
from kit.run.run import Run

Ask = Callable[[str], bool]
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip's bytes say nothing about when it was made


class Shelf(Protocol):
    """Where files are put so that a session can mount them."""

    def put(self, name: str, files: Sequence[Path]) -> str:
        """owner/slug of the dataset."""


def put_pictures(run: Run, ask: Ask | None, shelf: Shelf) -> str:
    """owner/slug of the dataset; folders are zipped, which Kaggle undoes. Raises `ConfigError` where nobody agreed."""
    competition, raw = run.competition, run.workspace.raw(run.competition.name)
    held = [place for accepted in competition.files.roles().values() for place in in_raw(raw, accepted) or []]
    tops = sorted({raw / place.relative_to(raw).parts[0] for place in held})
    if not tops:
        raise KitError(f"{competition.title} is not on Kaggle, and its files are not here: give them with --from DIR")
    what = f"{competition.title} is not on Kaggle: its files ({examples(path.name for path in tops)})"
    if ask is None or not ask(f"{what} would be put there as a private dataset of yours. Do it?"):
        raise ConfigError(f"{what} have to be put there as a private dataset; --yes does it")
    with tempfile.TemporaryDirectory() as place:
        files = [_zipped(top, Path(place)) if top.is_dir() else top for top in tops]
        return shelf.put(competition.name, files)


def _zipped(folder: Path, place: Path) -> Path:
    archive = place / f"{folder.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EARLIEST)
                packed.writestr(info, path.read_bytes())
    return archive
