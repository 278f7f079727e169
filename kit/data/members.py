"""What an archive holds: zip, 7z or tar, each of its members with a name that is a path within a folder, whatever wrote
it: PowerShell's backslashes, a leading `./`, UTF-8 that is not marked as such."""

import contextlib
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.errors import KitError, reason

TARS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Member:
    """A file in an archive: `name`, where it is unpacked to; `inside`, what the archive calls it."""

    name: str
    inside: Any
    size: int
    packed: int | None = None
    plain: bool = True  # neither a link nor a device
    encrypted: bool = False


def list_members(path: Path) -> list[Member]:
    """The files in an archive; raises what its reader raises."""
    return _list_seven(path) if path.suffix == ".7z" else _list_zip_or_tar(path)


def safe_name(name: str) -> str:
    """As a path inside a folder, whoever wrote it: `a/b.jpg` of `a\\b.jpg` and of `./a/b.jpg`."""
    return str(PurePosixPath(name.replace("\\", "/")))


def zip_name(member: zipfile.ZipInfo) -> str:
    """A zip member's name. Not marked as UTF-8 it may be it all the same; else it is in the zip's old code page."""
    name = member.filename
    if not member.flag_bits & 0x800 and not name.isascii():
        with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    return safe_name(name)


def zip_members(archive: zipfile.ZipFile) -> list[Member]:
    return [
        Member(
            zip_name(m), m, m.file_size, m.compress_size,
            stat.S_IFMT(m.external_attr >> 16) in {0, stat.S_IFREG}, bool(m.flag_bits & 0x1),
        )
        for m in archive.infolist() if not m.is_dir() and not m.filename.endswith("\\")
    ]  # fmt: skip


def _list_zip_or_tar(path: Path) -> list[Member]:
    if path.name.endswith(TARS):
        with tarfile.open(path) as tar:
            return [Member(safe_name(m.name), m.name, m.size, plain=m.isfile()) for m in tar if not m.isdir()]
    with zipfile.ZipFile(path) as archive:
        return zip_members(archive)


def _list_seven(path: Path) -> list[Member]:
    def look(archive: Any) -> list[Member]:
        locked = archive.password_protected
        return [
            Member(safe_name(one.filename), one.filename, one.uncompressed, plain=one.is_file, encrypted=locked)
            for one in archive.files if not one.is_directory
        ]  # fmt: skip

    found: list[Member] = with_seven(path, look)
    return found


def with_seven(path: Path, work: Callable[[Any], Any]) -> Any:
    """`work`, done with a py7zr archive. Raises `KitError`."""
    try:
        import py7zr
    except ImportError:
        raise KitError(f"{path}: a 7z needs `pip install py7zr`; or unpack it and give the folder to --from") from None
    try:
        with py7zr.SevenZipFile(path) as archive:
            return work(archive)
    except KitError:
        raise
    except Exception as error:  # py7zr and its decoders raise anything
        raise KitError(f"{path}: {not_an_archive(path, error)}; get {path.name} again") from None


def extract(path: Path, place: Path, names: list[str] | None = None) -> None:
    """A verified 7z or tar, or some of its members, into a folder."""
    if path.suffix == ".7z":
        with_seven(path, lambda archive: archive.extract(path=place, targets=names))
        return
    with tarfile.open(path) as tar:
        some = None if names is None else [tar.getmember(name) for name in names]
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from Python 3.11.4 on
        tar.extractall(place, members=some, **safe)  # type: ignore[arg-type]


def not_an_archive(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    kind = "7z" if path.suffix == ".7z" else "tar" if path.name.endswith(TARS) else "zip"
    page = head.startswith((b"<!doctype", b"<html"))
    return f"is a web page, not a {kind}" if page else f"is a broken {kind} ({reason(error)})"
