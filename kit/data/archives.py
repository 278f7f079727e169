"""Archives from elsewhere: zip, 7z, tar. First verified, then unpacked, whole or not at all."""

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kit import console
from kit.data.members import TARS, Member, extract, list_members, not_an_archive, with_seven
from kit.errors import KitError, examples, reason
from kit.workspace import atomic_folder

MAX_RATIO = 200  # unpacked to packed bytes; pictures hardly shrink, deflate's own limit is 1,032
FREE_RATIO_BYTES = 100_000_000  # up to this size any ratio is harmless
ENDINGS = (".zip", ".7z", *TARS)
PARTS = (".z01", ".zip.001", ".7z.001", ".rar")  # not unpacked here
_CHUNK = 1 << 20


def is_archive(path: Path) -> bool:
    return path.name.endswith(ENDINGS) and not path.is_dir()


def unpacked_name(name: str) -> str:
    """`train` of train.zip, train.7z, train.tar.gz, and of train."""
    ending = next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if name.endswith(ending)), "")
    return name.removesuffix(ending)


def members_of(path: Path) -> list[Member]:
    """The files in an archive. Raises `KitError` where it cannot be read, or none may be: a hostile one, a bomb."""
    try:
        members = list_members(path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise KitError(f"{path}: {not_an_archive(path, error)}; get {path.name} again") from None
    except OSError as error:
        raise KitError(f"{path}: cannot be read: {reason(error)}") from None
    refuse_hostile(path, members)
    return members


def verify_archive(path: Path) -> int:
    """Check a whole archive: readable, no hostile member, no bomb, every checksum. Returns the unpacked size in bytes.
    Raises `KitError` naming the archive, the member, and what to do."""
    members = members_of(path)
    total = sum(member.size for member in members)
    with console.progress(f"verify {path.name}", total, unit="bytes") as bar:
        if path.suffix == ".7z":
            with_seven(path, lambda archive: archive.test())
            bar.advance(total)
        elif path.name.endswith(TARS):
            with tarfile.open(path) as tar:
                for member in members:
                    _read_through(partial(tar.extractfile, member.inside), member, path, bar)
        else:
            with zipfile.ZipFile(path) as archive:
                for member in members:
                    _read_through(partial(archive.open, member.inside), member, path, bar)
    return total


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
        with path.open("rb") as file:
            lines = [hashlib.file_digest(file, "sha256").hexdigest()]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def unpack_archive(path: Path, folder: Path) -> None:
    """Unpack a verified archive so that `folder` appears whole; a single top-level folder of the same name is left
    out."""
    members = members_of(path)
    parts = {member: PurePosixPath(member.name).parts for member in members}
    nested = all(len(those) > 1 for those in parts.values())
    skip = 1 if nested and {those[0] for those in parts.values()} == {folder.name} else 0
    with atomic_folder(folder) as temporary:
        targets = {member: temporary.joinpath(*those[skip:]) for member, those in parts.items()}
        if path.suffix != ".7z" and not path.name.endswith(TARS):
            with zipfile.ZipFile(path) as archive:
                for member in console.track(members, f"unpack {path.name}", len(members)):
                    with _writing(path, member, targets[member]), archive.open(member.inside) as source:
                        _copy(source, targets[member])
            return
        with tempfile.TemporaryDirectory(dir=temporary, prefix=".") as place:  # swept away with it, if we are killed
            extract(path, Path(place))
            for member in members:
                with _writing(path, member, targets[member]):
                    (Path(place) / str(member.inside)).rename(targets[member])


def read_some(path: Path, members: list[Member]) -> dict[str, bytes]:
    """Some members' bytes, of a tar or 7z, which have to be read from their beginning."""
    with tempfile.TemporaryDirectory() as place:
        extract(path, Path(place), [str(member.inside) for member in members])
        return {member.name: (Path(place) / str(member.inside)).read_bytes() for member in members}


@contextmanager
def _writing(path: Path, member: Member, target: Path) -> Iterator[None]:
    """With the target's folder made; what the disk refuses is one line."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise KitError(f"{path}: '{member.name}' cannot be unpacked: {error.strerror}") from None


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("xb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)


def _read_through(opened: Callable[[], Any], member: Member, path: Path, bar: console.Bar) -> None:
    seen = 0
    try:
        with opened() as file:
            while chunk := file.read(_CHUNK):
                seen += len(chunk)
                if seen > member.size:
                    raise KitError(f"{path}: '{member.name}' is larger than it says; this archive is hostile")
                bar.advance(len(chunk))
    except NotImplementedError as error:  # Deflate64, as Windows packs large files
        advice = f"unpack {path.name} with 7-Zip or `7z x`, and give the folder to --from"
        raise KitError(f"{path}: '{member.name}': {error}; {advice}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error) as error:
        raise KitError(f"{path}: '{member.name}' is damaged ({error}); get {path.name} again") from None


def refuse_hostile(path: Path, members: list[Member]) -> None:
    for member in members:
        name, parts = member.name, PurePosixPath(member.name).parts
        drive = bool(parts) and len(parts[0]) == 2 and parts[0][1] == ":"
        drive |= os.name == "nt" and ":" in name  # there it names a stream of another file
        if not parts or name.startswith("/") or ".." in parts or drive:
            raise KitError(f"{path}: '{name}' would land outside its folder; this archive is hostile, do not use it")
        if not member.plain:
            raise KitError(f"{path}: '{name}' is a link or a device; this archive is hostile, do not use it")
        if member.encrypted:
            raise KitError(f"{path}: '{name}' is encrypted; unpack it yourself and give the folder to --from")
    counts = Counter(os.path.normpath(member.name) for member in members)
    if len(counts) < len(members):
        repeated = [name for name, count in counts.most_common(4) if count > 1]
        raise KitError(f"{path}: contains a file twice: {examples(repeated)}")
    total = sum(member.size for member in members)
    packed = min(sum(m.packed for m in members if m.packed is not None) or path.stat().st_size, path.stat().st_size)
    if total > max(FREE_RATIO_BYTES, MAX_RATIO * packed):  # members may overlap
        raise KitError(f"{path}: {packed:,} bytes would unpack to {total:,}; that is a zip bomb, do not use it")
