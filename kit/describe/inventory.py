"""What a folder of downloads holds, archives included but not unpacked: pictures by folder, tables, JSON and idx files.

`role` is what the competition's YAML calls an entry; it says where the entry is once it is unpacked into raw/. What was
seen and is not understood is kept by name: it may be the reason why nothing fits."""

import atexit
import io
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from kit.data.archives import FREE_RATIO_BYTES, MAX_RATIO, PARTS, is_archive, members_of, read_some, unpacked_name
from kit.data.containers import ENDINGS as CONTAINERS
from kit.data.containers import holds_bands, is_stack
from kit.data.label_arrays import array_table
from kit.data.matching import ARRAYS
from kit.data.members import Member, zip_members
from kit.data.places import only_folder, walk, wraps
from kit.data.text_tables import ENDINGS, LISTING
from kit.describe.entry import Entry, Inventory, Read
from kit.describe.kinds import ending, head_of, is_hidden, is_listing, is_picture, is_table, shape_of
from kit.describe.names import is_role, parts_by_role, roles_of
from kit.errors import ConfigError, KitError, counted

IDX = ("-idx1-ubyte", "-idx3-ubyte")
_RECORDS = ", which the kit does not read: look for the same pictures as JPEG, or convert them"
_SOUND, _VIDEO = ", sound: make spectrograms of it first", ", video: take frames from it first"
_UNREAD = {
    **dict.fromkeys((".tfrec", ".tfrecord", ".tfrecords", ".bson", ".lmdb", ".rec"), _RECORDS),
    **dict.fromkeys((".wav", ".mp3", ".ogg", ".flac"), _SOUND), **dict.fromkeys((".mp4", ".avi", ".mov"), _VIDEO),
}  # fmt: skip
MOST_TABLES = 20  # in a folder of pictures; more of them belong to single pictures
FEW = 20  # pictures of a tar or 7z that are read at once


def scan(folder: Path) -> Inventory:
    """Everything of use in a folder, or in the one bundle in it. Raises `KitError` when there is nothing at all."""
    if not folder.exists():
        raise ConfigError(f"--from {folder}: no such file or folder")
    top = folder if folder.is_file() else only_folder(folder)
    tops = [top] if top.is_file() else sorted(p for p in top.iterdir() if not p.name.startswith((".", "__MACOSX")))
    bundle = [path for path in tops if path.suffix == ".zip" and not is_role(path.name) and _is_bundle(path)]
    found = _Found()
    if len(bundle) == 1 and len(tops) <= 2:
        _look_into_bundle(bundle[0], found)
        tops = [path for path in tops if path != bundle[0]]
    for path in tops:
        _look_at(path, found)
    found.settle_arrays()
    if found.strays and not any(entry.pictures or entry.holds_pixels for entry in found.entries):
        advice = "give the folder above it, with the labels" if not found.entries else "move them into one, named train"
        raise KitError(f"{folder}: holds {counted(found.strays, 'picture')} outside of any folder; {advice}")
    if not found.entries and not found.unseen:
        raise KitError(f"{folder}: contains no pictures, no tables and no archives of them")
    return Inventory(found.entries, found.unseen)


class _Found:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.unseen: list[str] = []
        self.strays = 0  # pictures beside the folders
        self.arrays: list[tuple[str, Read, Path | None, bool]] = []  # of many pictures, or of labels

    def add(self, role: str, names: Sequence[str], read: Read, prefix: str = "") -> None:
        """A folder's or archive's files, by their paths within it. `prefix`: what `read` wants before them."""
        if len(names) == 1 and names[0] == unpacked_name(role) and names[0].endswith(ARRAYS):  # X_train.npy.zip
            self.file(f"{role}/{names[0]}", _one(read, prefix + names[0]))
            return
        pictures = [name for name in names if is_picture(name)]
        tables, texts = list(filter(is_table, names)), [name for name in names if ending(name) == LISTING]
        tables += [name for name in texts if len(texts) <= MOST_TABLES and is_listing(name, _one(read, prefix + name))]
        for sub, inside in parts_by_role(pictures).items():
            place = f"{prefix}{sub}/" if sub else prefix
            self.entries.append(Entry(f"{role}/{sub}" if sub else role, _within(read, place), inside))
        alone = not pictures and len(tables) == 1 and unpacked_name(role).lower().endswith((*ENDINGS, ".json"))
        if len(tables) <= MOST_TABLES:
            for name in tables:
                inner = unpacked_name(role) if alone else f"{role}/{name}"
                self.entries.append(Entry(inner, _one(read, prefix + name)))
        known = {*pictures, *tables}
        rest = [name for name in names if name not in known and not is_hidden(name)]
        for name in [name for name in rest if name.endswith(CONTAINERS)]:
            self.hold(f"{role}/{name}", _one(read, prefix + name))
            rest.remove(name)
        counts = Counter(ending(name) or "files without an ending" for name in rest).most_common(3)
        self.unseen += [f"{count:,} {kind} in {role}{_UNREAD.get(kind, '')}" for kind, count in counts]

    def hold(self, role: str, read: Read, path: Path | None = None) -> None:
        """A file of many pictures; from an archive it is put on the disk for a while, where its library can read it."""
        if path is None:
            folder = Path(tempfile.mkdtemp(prefix="kit-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            path = folder / PurePosixPath(role).name
            path.write_bytes(read(""))
        try:
            self.entries.append(Entry.of_container(role, path))
        except KitError as error:
            self.unseen.append(f"{role}: {str(error).removeprefix(f'{path}: ')}")

    def file(self, name: str, read: Read, path: Path | None = None) -> None:
        shape = shape_of(name, read, path)
        if shape is not None and (len(shape) < 3 or is_stack(shape)):
            self.arrays.append((name, read, path, is_stack(shape)))
        elif name.endswith(CONTAINERS) and (not name.endswith(".json") or holds_bands(head_of(read, path))):
            self.hold(name, read, path)
        elif is_table(name) or is_listing(name, lambda _: head_of(read, path)) or any(mark in name for mark in IDX):
            self.entries.append(Entry(name, read))
        elif is_picture(name):
            self.strays += 1
        else:
            self.unseen.append(f"{name}{_UNREAD.get(ending(name), '')}")

    def settle_arrays(self) -> None:
        """Pictures in arrays count where no folder has some for the same, and labels where pictures do."""
        folders = [entry for entry in self.entries if entry.pictures and entry.container is None]
        there = {role for entry in folders for role in roles_of(entry.name) or {""}}
        kept = {one[0] for one in self.arrays if one[3] and not (roles_of(one[0]) or there) & there}
        for name, read, path, is_pictures in self.arrays:
            if not (name in kept if is_pictures else kept):
                self.unseen.append(f"{name}: an array beside other pictures")
            elif is_pictures:
                self.hold(name, read, path)
            else:
                self._take_labels(name, read)

    def _take_labels(self, name: str, read: Read) -> None:
        try:
            array_table(read(""), name)
            self.entries.append(Entry(name, read))
        except KitError as error:
            self.unseen.append(str(error))


def _look_at(path: Path, found: _Found) -> None:
    if path.is_dir():
        found.add(path.name, sorted(walk(path)), lambda inside: (path / inside).read_bytes())
    elif path.suffix == ".zip":
        _look_into_zip(path.name, path, found)
    elif path.name.endswith(PARTS):
        whole = "all its parts" if path.suffix != ".rar" else "it"
        found.unseen.append(f"{path.name}: unpack {whole} with 7-Zip or `7z x` and give the folder to --from")
    elif is_archive(path):
        _look_into_other(path, found)
    else:
        found.file(path.name, lambda _: path.read_bytes(), path)


def _look_into_zip(role: str, source: Path | IO[bytes], found: _Found) -> None:
    archive, members = _open(role, source)
    names, prefix = _without_top(role, list(members))
    found.add(role, names, _zip_reader(role, archive, members), prefix)


def _look_into_other(path: Path, found: _Found) -> None:
    """A tar or 7z, which is read from its beginning: a few pictures are, and the tables."""
    members = {member.name: member for member in members_of(path)}
    names, prefix = _without_top(path.name, list(members))
    held: dict[str, bytes] = {}

    def read(name: str) -> bytes:
        if name not in held:
            texts = [member for member in members.values() if ending(member.name) == LISTING]
            pictures = [member for member in members.values() if is_picture(member.name)][:FEW]
            some = [*pictures, *(texts if len(texts) <= MOST_TABLES else [])] if not held else []
            held.update(read_some(path, list({m.name: m for m in (*some, members[name])}.values())))
        return held[name]

    found.add(path.name, names, read, prefix)


def _look_into_bundle(path: Path, found: _Found) -> None:
    """Kaggle's "download all": folders, tables and inner zips in one zip."""
    archive, members = _open(path.name, path)
    read = _zip_reader(path.name, archive, members)
    top, nested = next(iter(members)).partition("/")[0], all("/" in name for name in members)
    within = {name.split("/")[1] for name in members if name.count("/") > 1 or nested}
    only = nested and all(name.startswith(f"{top}/") for name in members)
    wrap = f"{top}/" if only and wraps(top, within) else ""
    names = [name.removeprefix(wrap) for name in members]
    for top in dict.fromkeys(name.partition("/")[0] for name in names):
        inside = [name.removeprefix(f"{top}/") for name in names if name.startswith(f"{top}/")]
        if inside:
            found.add(top, inside, read, f"{wrap}{top}/")
        elif top.endswith(".zip"):
            inner = members[wrap + top].inside
            stored = inner.compress_type == zipfile.ZIP_STORED  # gigabytes, read in place
            _look_into_zip(top, archive.open(inner) if stored else io.BytesIO(read(wrap + top)), found)
        else:
            found.file(top, _one(read, wrap + top))


def _open(role: str, source: Path | IO[bytes]) -> tuple[zipfile.ZipFile, dict[str, Member]]:
    """(the zip, kept open; its files)"""
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise KitError(f"{role}: is a broken zip ({error}); get it again") from None
    return archive, {member.name: member for member in zip_members(archive) if "__MACOSX" not in member.name}


def _zip_reader(role: str, archive: zipfile.ZipFile, members: dict[str, Member]) -> Read:
    """A bomb, an encrypted or a damaged member raises `KitError`."""

    def read(name: str) -> bytes:
        member = members[name]
        if member.encrypted:
            raise KitError(f"{role}: '{name}' is encrypted; unpack {role} yourself")
        if member.size > max(FREE_RATIO_BYTES, MAX_RATIO * (member.packed or 0)):
            sizes = f"{member.packed:,} bytes would unpack to {member.size:,}"
            raise KitError(f"{role}: '{name}': {sizes}; that is a zip bomb, do not use it")
        try:
            data: bytes = archive.read(member.inside)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise KitError(f"{role}: '{name}' cannot be read ({error}); get {role} again") from None
        return data

    return read


def _one(read: Read, name: str) -> Read:
    """Reads this file, whatever it is asked for."""
    return lambda _: read(name)


def _within(read: Read, prefix: str) -> Read:
    return lambda inside: read(prefix + inside)


def _without_top(role: str, names: list[str]) -> tuple[list[str], str]:
    """train.zip holds train/cat.0.jpg and is unpacked without that folder."""
    top = f"{unpacked_name(role)}/"
    prefix = top if names and all(name.startswith(top) for name in names) else ""
    return [name.removeprefix(prefix) for name in names], prefix


def _is_bundle(path: Path) -> bool:
    """Does the zip hold tables beside pictures, or other zips?"""
    _, members = _open(path.name, path)
    tables = [name for name in members if name.endswith((*ENDINGS, ".csv.zip", ".json"))]
    whole = any(name.endswith(".zip") for name in members)
    return len(members) > 1 and (whole or bool(tables))
