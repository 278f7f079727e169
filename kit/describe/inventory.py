"""What a folder of downloads holds, zips included but not unpacked: pictures by folder, tables, COCO and idx files.

Names are those in raw/ after `kit download`; `role` is what the competition's YAML calls it."""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import pandas as pd
from PIL import Image

from kit.data.archives import FREE_RATIO_BYTES, MAX_RATIO
from kit.data.images import EXTENSIONS
from kit.data.layouts import walk
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError

IDX = ("-idx1-ubyte", "-idx3-ubyte")


@dataclass(frozen=True)
class Entry:
    """One file or folder. `pictures`: their paths inside it. `read(path)`: a picture's bytes; "": the file's own."""

    role: str
    read: Callable[[str], bytes]
    pictures: list[str] = field(default_factory=list)
    held: dict[str, pd.DataFrame] = field(default_factory=dict)  # the table, once read

    @property
    def name(self) -> str:
        """As unpacked: `train.zip` becomes `train`."""
        return self.role.removesuffix(".zip")

    def table(self) -> pd.DataFrame:
        """The CSV as text. Raises `KitError` when it is not one."""
        if self.role not in self.held:
            self.held[self.role] = read_text_csv(io.BytesIO(self.read("")), self.role)
        return self.held[self.role]

    @property
    def columns(self) -> list[str]:
        return [str(column) for column in read_text_csv(io.BytesIO(self.read("")), self.role, nrows=0)]

    def size_of(self, picture: str) -> tuple[int, int] | None:
        """(width, height) from the file's header; `None` where Pillow does not know it."""
        try:
            return Image.open(io.BytesIO(self.read(picture))).size
        except (OSError, ValueError, Image.DecompressionBombError):
            return None


def scan(folder: Path) -> list[Entry]:
    """Everything of use in a folder, or in the one bundle zip in it. Raises `KitError` when there is nothing."""
    if not folder.exists():
        raise ConfigError(f"--from {folder}: no such file or folder")
    tops = [folder] if folder.is_file() else sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    bundle = [path for path in tops if path.suffix == ".zip" and _is_bundle(path)]
    entries = _bundle(bundle[0]) if len(bundle) == 1 and len(tops) <= 2 else [e for p in tops if (e := _entry(p))]
    if not entries:
        raise KitError(f"{folder}: contains no pictures, no tables and no zips of them")
    return entries


def _entry(path: Path) -> Entry | None:
    if path.is_dir():
        pictures = sorted(p.relative_to(path).as_posix() for p in walk(path) if _is_picture(p.name))
        return Entry(path.name, lambda inside: (path / inside).read_bytes(), pictures) if pictures else None
    if path.suffix == ".zip":
        return _zipped(path.name, path)
    if path.suffix in {".csv", ".json"} or any(mark in path.name for mark in IDX):
        return Entry(path.name, lambda _: path.read_bytes())
    return None


def _open(role: str, source: Path | IO[bytes]) -> tuple[zipfile.ZipFile, list[str]]:
    """(the zip, kept open; its files' names)"""
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise KitError(f"{role}: is a broken zip ({error}); get it again") from None
    return archive, [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]


def _zipped(role: str, source: Path | IO[bytes]) -> Entry | None:
    """A zip of pictures, or of one table."""
    archive, members = _open(role, source)
    pictures = [name for name in members if _is_picture(name)]
    if pictures:
        top = PurePosixPath(role).stem + "/"  # train.zip holds train/cat.0.jpg and is unpacked without that folder
        prefix = top if all(name.startswith(top) for name in pictures) else ""
        inside = [name.removeprefix(prefix) for name in pictures]
        return Entry(role, _reader(role, archive, prefix), inside)
    tables = [name for name in members if name.endswith((".csv", ".json"))]
    return Entry(role.removesuffix(".zip"), _reader(role, archive, tables[0])) if len(tables) == 1 else None


def _reader(role: str, archive: zipfile.ZipFile, prefix: str) -> Callable[[str], bytes]:
    """Reads the member `prefix` + its argument. A bomb, an encrypted or a damaged member raises `KitError`."""

    def read(inside: str) -> bytes:
        member = archive.getinfo(prefix + inside)
        if member.flag_bits & 0x1:
            raise KitError(f"{role}: '{member.filename}' is encrypted; unpack {role} yourself")
        if member.file_size > max(FREE_RATIO_BYTES, MAX_RATIO * member.compress_size):
            sizes = f"{member.compress_size:,} bytes would unpack to {member.file_size:,}"
            raise KitError(f"{role}: '{member.filename}': {sizes}; that is a zip bomb, do not use it")
        try:
            return archive.read(member)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise KitError(f"{role}: '{member.filename}' cannot be read ({error}); get {role} again") from None

    return read


def _bundle(path: Path) -> list[Entry]:
    """Kaggle's "download all": folders, tables and inner zips in one zip."""
    archive, names = _open(path.name, path)
    entries: list[Entry | None] = []
    for top in dict.fromkeys(name.split("/")[0] for name in names):
        inside = [name.removeprefix(top + "/") for name in names if name.startswith(top + "/") and _is_picture(name)]
        if inside:
            entries.append(Entry(top, _reader(path.name, archive, f"{top}/"), inside))
        elif top.endswith(".zip"):
            stored = archive.getinfo(top).compress_type == zipfile.ZIP_STORED  # gigabytes, read in place
            inner = archive.open(top) if stored else io.BytesIO(_reader(path.name, archive, top)(""))
            entries.append(_zipped(top, inner))
        elif top.endswith((".csv", ".json")) or any(mark in top for mark in IDX):
            entries.append(Entry(top, _reader(path.name, archive, top)))
    return [entry for entry in entries if entry is not None]


def _is_bundle(path: Path) -> bool:
    """Does the zip hold tables beside pictures, or other zips?"""
    _, names = _open(path.name, path)
    tables = [name for name in names if name.endswith((".csv", ".csv.zip", ".json"))]
    return bool(tables) and len(names) > 1


def _is_picture(name: str) -> bool:
    plain = PurePosixPath(name)
    return plain.suffix.lower() in EXTENSIONS and not plain.name.startswith((".", "__"))
