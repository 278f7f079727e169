"""Zip files from elsewhere: first verified, then unpacked, whole or not at all."""

import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from kit import console
from kit.errors import KitError, examples
from kit.workspace import atomic_folder

MAX_RATIO = 200  # unpacked to packed bytes; pictures hardly shrink, deflate's own limit is 1,032
FREE_RATIO_BYTES = 100_000_000  # up to this size any ratio is harmless
_CHUNK = 1 << 20


def verify_zip(path: Path) -> int:
    """Check a whole zip: readable, no hostile member, no bomb, every CRC. Returns the unpacked size in bytes. Raises
    `KitError` naming the archive, the member, and what to do."""
    again = f"get {path.name} again"
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _refuse_hostile(path, members)
            total = sum(member.file_size for member in members)
            with console.progress(f"verify {path.name}", total, unit="bytes") as bar:
                for member in members:
                    _read_through(archive, member, path, bar)
            return total
    except zipfile.BadZipFile as error:
        what = "is a web page, not a zip" if head.startswith((b"<!doctype", b"<html")) else f"is a broken zip ({error})"
        raise KitError(f"{path}: {what}; {again}") from None
    except OSError as error:
        raise KitError(f"{path}: cannot be read: {error}") from None


def contents_fingerprint(path: Path) -> str:
    """sha256 over a zip's names, sizes and CRCs, a folder's names and sizes, or a file's bytes."""
    if path.is_dir():
        lines = sorted(f"{f.relative_to(path)} {f.stat().st_size}" for f in path.rglob("*") if f.is_file())
    elif zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                lines = sorted(f"{m.filename} {m.file_size} {m.CRC}" for m in archive.infolist())
        except zipfile.BadZipFile as error:
            raise KitError(f"{path}: is a broken zip ({error}); get {path.name} again") from None
    else:
        lines = [hashlib.sha256(path.read_bytes()).hexdigest()]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def unpack_zip(path: Path, folder: Path) -> None:
    """Unpack a verified zip so that `folder` appears whole; a single top-level folder of the same name is left out."""
    with zipfile.ZipFile(path) as archive, atomic_folder(folder) as temporary:
        files = [member for member in archive.infolist() if not member.is_dir()]
        _refuse_hostile(path, files)
        tops = {PurePosixPath(member.filename).parts[0] for member in files}
        nested = all(len(PurePosixPath(member.filename).parts) > 1 for member in files)
        skip = 1 if tops == {folder.name} and nested else 0
        for member in console.track(files, f"unpack {path.name}", len(files)):
            target = temporary.joinpath(*PurePosixPath(member.filename).parts[skip:])
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
            except OSError as error:
                raise KitError(f"{path}: '{member.filename}' cannot be unpacked: {error.strerror}") from None


def _read_through(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, bar: console.Bar) -> None:
    seen = 0
    try:
        with archive.open(member) as file:
            while chunk := file.read(_CHUNK):
                seen += len(chunk)
                if seen > member.file_size:
                    raise KitError(f"{path}: '{member.filename}' is larger than it says; this archive is hostile")
                bar.advance(len(chunk))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise KitError(f"{path}: '{member.filename}' is damaged ({error}); get {path.name} again") from None


def _refuse_hostile(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    for member in members:
        name, mode = member.filename, member.external_attr >> 16
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or (parts and ":" in parts[0]):
            raise KitError(f"{path}: '{name}' would land outside its folder; this archive is hostile, do not use it")
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise KitError(f"{path}: '{name}' is a link or a device; this archive is hostile, do not use it")
        if member.flag_bits & 0x1:
            raise KitError(f"{path}: '{name}' is encrypted; unpack it yourself and give the folder to --from")
    counts = Counter(os.path.normpath(name) for name in names)
    if len(counts) < len(names):
        repeated = [name for name, count in counts.most_common(4) if count > 1]
        raise KitError(f"{path}: contains a file twice: {examples(repeated)}")
    total = sum(member.file_size for member in members)
    packed = min(sum(member.compress_size for member in members), path.stat().st_size)  # members may overlap
    if total > max(FREE_RATIO_BYTES, MAX_RATIO * packed):
        raise KitError(f"{path}: {packed:,} bytes would unpack to {total:,}; that is a zip bomb, do not use it")
