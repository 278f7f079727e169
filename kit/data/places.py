"""Where the files of a competition's roles are: in a folder of downloads, and in raw/ once they are unpacked."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kit.competition import Competition
from kit.data.archives import ENDINGS, unpacked_name
from kit.errors import KitError
from kit.sections import Together

HIDDEN = ("Thumbs.db", "desktop.ini")


def unpacked(raw: Path, name: str) -> Path:
    """Where `name` is in raw/: `train.zip` is unpacked to `train`, and so is `train/labels.csv` from train.zip."""
    top, _, inside = name.partition("/")
    return raw / unpacked_name(top) / inside


def in_raw(raw: Path, accepted: Sequence[Together]) -> list[Path] | None:
    """The files or folders of the first alternative that is there as a whole."""
    for names in accepted:
        places = [unpacked(raw, name) for name in names]
        if all(place.exists() for place in places):
            return places
    return None


def require_in_raw(competition: Competition, raw: Path, role: str) -> list[Path]:
    """As `in_raw`; raises `KitError` where they are missing."""
    accepted = competition.files.roles()[role]
    found = in_raw(raw, accepted)
    if found is None:
        advice = f"type `kit download`, or `kit download --from DIR` with a folder that holds {spelled(accepted)}"
        missing = " or ".join(unpacked(Path(), name).as_posix() for names in accepted for name in names)
        raise KitError(f"{raw}: no {missing}; {advice}")
    return found


def spelled(accepted: Sequence[Together]) -> str:
    return " or ".join(" and ".join(names) for names in accepted)


def in_downloads(folder: Path, name: str) -> Path | None:
    """What holds `name`: the file, the folder of that name, or an archive of it."""
    top, _, inside = name.partition("/")
    bare = unpacked_name(top)
    packed = [folder / f"{one}{ending}" for one in (top, bare) for ending in ENDINGS]
    for path in (folder / top, folder / bare, *packed):
        if (path.is_dir() and (path / inside).exists()) or path.is_file():
            return path
    return None


def only_folder(folder: Path) -> Path:
    """What a download holds: the folder itself, or the one folder in it, where that one is only a wrapping."""
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    if len(inside) != 1 or not inside[0].is_dir():
        return folder
    within = {path.name for path in inside[0].iterdir() if path.is_dir() or not path.suffix or _is_held(path.name)}
    return inside[0] if wraps(inside[0].name, within) else folder


def wraps(top: str, within: Iterable[str]) -> bool:
    """Is a folder, the only one of a download, a wrapping of its folders, tables and archives, and no role itself?"""
    role = any(word in top.lower() for word in ("train", "test", "image"))
    return not role and any(_is_held(name) or "train" in name.lower() for name in within)


def _is_held(name: str) -> bool:
    return name.endswith((*ENDINGS, ".csv"))


def walk(folder: Path | str, inside: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """Ordinary files that are not hidden, by their paths within `folder`, unsorted, as the folders' listings give them,
    without a stat for each. Linked folders are entered, except one that contains itself (`above`: the real paths that
    led here; `inside`: the path that did)."""
    here = os.path.realpath(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__")) or entry.name in HIDDEN:
                continue
            if entry.is_dir():
                if os.path.realpath(entry.path) not in (*above, here):
                    yield from walk(entry.path, f"{inside}{entry.name}/", (*above, here))
            elif entry.is_file():
                yield f"{inside}{entry.name}"
