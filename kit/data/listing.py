"""The files of a competition's folders that may be pictures, and which of them are one sample."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kit import console
from kit.competition import Competition
from kit.data.containers import FILES, names_in
from kit.data.places import walk
from kit.data.reading import SEPARATOR
from kit.data.sources import named_in
from kit.errors import KitError, counted, examples
from kit.sections import Pictures

NO_PICTURES = {
    ".csv", ".tsv", ".xls", ".xlsx", ".txt", ".md", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".py", ".ipynb",
    ".log", ".zip", ".db", ".ini",
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """One picture, or the `parts` of a sample, which goes by a name of its own."""

    folder: Path  # or a file that holds many pictures
    inside: str  # its path within the role's folder, or its name within that file
    shape: tuple[int, int] | None = None  # of a row of pixels
    is_held: bool = False  # in a file of many
    parts: tuple["File", ...] = ()

    @property
    def path(self) -> str:
        if self.parts:
            return SEPARATOR.join(part.path for part in self.parts)
        return (
            named_in(self.folder, self.inside, self.shape) if self.is_held else os.path.join(self.folder, self.inside)
        )

    @property
    def named(self) -> str:
        """`inside`, with the folder's name."""
        return f"{self.folder.name}/{self.inside}"

    @property
    def stem(self) -> str:
        return os.path.splitext(self.inside)[0].rpartition("/")[2]

    @property
    def ending(self) -> str:
        return os.path.splitext(self.inside)[1].lower()


def files_in(folders: Sequence[Path], competition: Competition) -> list[File]:
    """Every file that may be a picture, in natural order; the pictures that a file of many holds, in its own. Where
    samples have several, they go by the samples' names."""
    found: list[File] = []
    for folder in folders:
        if folder.is_file() and folder.name.endswith(FILES):
            shape = competition.labels.pixel_shape
            names = [name for name in names_in(folder) if not is_within(competition.files.without, name)]
            found += [File(folder, name, shape, is_held=True) for name in names]
            continue
        if not folder.is_dir():
            raise KitError(f"{folder}: is not a folder of pictures; correct `labels.layout` in the competition's YAML")
        found_there = [inside for inside in walk(folder) if not is_within(competition.files.without, inside)]
        files = [File(folder, inside) for inside in sorted(found_there, key=natural)]
        others = [file.inside for file in files if file.ending in NO_PICTURES]
        if others and len(others) < len(files):
            console.warn(f"{folder}: {counted(len(others), 'file')} left out, no pictures ({examples(others)})")
            files = [file for file in files if file.ending not in NO_PICTURES]
        found += files
    if not found:
        raise KitError(f"{' and '.join(map(str, folders))}: no files; expected images there")
    several = [file.inside for file in found if SEPARATOR in file.path]
    if competition.pictures is not None and several:
        raise KitError(
            f"{found[0].folder}: files with a '{SEPARATOR}' in their name ({examples(several)}); rename them"
        )
    return found if competition.pictures is None else gathered(found, competition.pictures)


def gathered(files: Sequence[File], pictures: Pictures) -> list[File]:
    """A file for each sample, in the order of their first pictures. Raises `KitError` where none fits."""
    if pictures.columns:  # a table says
        return list(files)
    samples: dict[tuple[Path, str], dict[str, File]] = {}
    for file in files:
        found = _sample_of(file, pictures)
        if found is not None:
            samples.setdefault((file.folder, found[0]), {})[found[1]] = file
    if not samples:
        how = f"ends with {examples(pictures.endings)}" if pictures.endings else f"fits {pictures.pattern}"
        advice = "correct `pictures` in the competition's YAML"
        raise KitError(f"{files[0].folder}: no file's name {how} ({examples(file.inside for file in files)}); {advice}")
    _say_what_lacks(samples, len(files), pictures)
    made = []
    for (folder, name), held in samples.items():
        first = next(iter(held.values()))
        parts = list(held.values())
        if pictures.endings:
            suffix = os.path.splitext(first.inside)[1]
            wanted = pictures.endings if pictures.together == "channels" else [e for e in pictures.endings if e in held]
            parts = [held.get(one) or File(folder, f"{name}{one}{suffix}", is_held=first.is_held) for one in wanted]
        made.append(File(folder, f"{name}{os.path.splitext(first.inside)[1]}", parts=tuple(parts)))
    return made


def _sample_of(file: File, pictures: Pictures) -> tuple[str, str] | None:
    """(the sample's name, what tells this picture from its others); `None` where it belongs to none."""
    if pictures.pattern is not None:
        match = re.search(pictures.pattern, file.named)
        return (match["sample"], file.inside) if match else None
    bare = os.path.splitext(file.inside)[0]
    ending = next((one for one in pictures.endings if bare.endswith(one) and len(bare) > len(one)), None)
    return (bare.removesuffix(ending), ending) if ending is not None else None


def _say_what_lacks(samples: dict[tuple[Path, str], dict[str, File]], count: int, pictures: Pictures) -> None:
    used = sum(map(len, samples.values()))
    if used < count:
        console.warn(f"{counted(count - used, 'file')} of no sample by `pictures` in the competition's YAML: left out")
    lacking = [name for (_, name), held in samples.items() if pictures.endings and len(held) < len(pictures.endings)]
    if lacking:
        console.warn(
            f"{counted(len(lacking), 'sample')} without all of {examples(pictures.endings)} ({examples(lacking)})"
        )


def is_within(folders: Sequence[str], inside: str) -> bool:
    """Is a file, by its path, below a folder that is called as one of these, or itself as one with a star?"""
    *above, name = inside.split("/")
    return not set(folders).isdisjoint(above) or any("*" in one and fnmatchcase(name, one) for one in folders)


def natural(file: str) -> str:
    """cat.2 before cat.10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(20), file) + f"\0{file}"
