"""download: Kaggle's archives, or your own, verified and unpacked -> `data/<competition>/raw/`."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kit import console
from kit.competition import Competition
from kit.data.archives import contents_fingerprint, is_archive, unpack_archive, unpacked_name, verify_archive
from kit.data.places import in_downloads, in_raw, only_folder, spelled, unpacked, walk
from kit.errors import ConfigError, KitError, reason
from kit.kaggle.client import KaggleClient
from kit.locks import lock
from kit.processes import mark
from kit.run.run import Run
from kit.workspace import atomic_path, fingerprint, read_json, require_free, sweep_temporaries, write_json

VERSION = 1
TABLES = {".csv", ".tsv", ".json"}
Found = dict[str, list[Path]]
"""Role -> the archives, folders or files that hold it."""


@dataclass(frozen=True)
class DownloadResult:
    raw: Path
    sources: dict[str, str]  # train, test, sample_submission -> the file or folder it came from
    changed: bool


def download(run: Run, source: Path | None = None, force: bool = False) -> DownloadResult:
    """Put the competition's files into raw/. `source` (--from): a folder, or a bundle zip, that you already have."""
    competition = run.competition
    raw = run.workspace.raw(competition.name)
    stamp = raw.with_name(".download.json")
    if source is not None and not source.exists():
        raise ConfigError(f"--from {source}: no such file or folder")
    with lock(raw.with_name(".download.lock"), str(raw)):
        sweep_temporaries(raw.parent)
        sweep_temporaries(raw)
        if source is None and not force and _complete(competition, raw):
            console.stage("download", f"{raw} is complete")
            return DownloadResult(raw, {}, False)
        if source is None:
            source = _from_kaggle(competition, raw.with_name("archives"), force)
        bundle = raw.with_name(".bundle")
        try:
            found = _find(competition, source, bundle)
            contents = {role: " ".join(map(contents_fingerprint, paths)) for role, paths in found.items()}
            inputs = fingerprint(VERSION, contents)
            names = {role: ", ".join(map(str, paths)) for role, paths in found.items()}
            then = read_json(stamp) if stamp.is_file() else {}
            if then.get("inputs") == inputs and _complete(competition, raw) and not force:
                console.stage("download", f"{raw} is complete, and the same as {source}")
                return DownloadResult(raw, names, False)
            if then.get("inputs") != inputs and not force:
                _refuse_replacing(competition, raw, source)
            archives = _verify(found, raw)  # all of them, before anything is unpacked
            write_json(stamp, {"inputs": inputs, "whole": False})
            _place(competition, found, raw, archives, bundle)
            write_json(stamp, {"inputs": inputs, "whole": True})
        finally:
            shutil.rmtree(bundle, ignore_errors=True)
    return DownloadResult(raw, names, True)


def _from_kaggle(competition: Competition, folder: Path, force: bool) -> Path:
    if competition.slug is None:
        raise ConfigError(f"{competition.title} is not on Kaggle: give its files with --from DIR")
    bundle = folder / f"{competition.slug}.zip"
    if force or not bundle.is_file():
        KaggleClient.connect().download_bundle(competition.slug, bundle, verify_archive)
    return bundle


def _refuse_replacing(competition: Competition, raw: Path, source: Path) -> None:
    """Files in raw/ that did not come from this source may be someone's own: only --force replaces them."""
    there = dict.fromkeys(path.name for name in competition.files.names() if (path := unpacked(raw, name)).exists())
    if there:
        raise KitError(f"{raw}: already holds files other than {source}'s ({', '.join(there)}); --force replaces them")


def _complete(competition: Competition, raw: Path) -> bool:
    """Is every role already in raw/, with no replacement left half done?"""
    stamp, roles = raw.with_name(".download.json"), competition.files.roles().values()
    whole = not stamp.is_file() or read_json(stamp).get("whole", False)
    return whole and all(in_raw(raw, accepted) is not None for accepted in roles)


def _find(competition: Competition, source: Path, staging: Path) -> Found:
    """What holds each role. A bundle is verified and laid out in `staging` first."""
    beside: Found = {}
    if source.is_dir():
        beside = _search(competition, only_folder(source))
        used = {path for paths in beside.values() for path in paths}
        packed = sorted(set(filter(is_archive, source.iterdir())) - used)
        bundle = source / f"{competition.slug}.zip"
        if len(beside) == len(competition.files.roles()) or not (bundle.is_file() or len(packed) == 1):
            return _require_all(competition, beside, source)
        source = bundle if bundle.is_file() else packed[0]
    size = verify_archive(source)
    require_free(staging.parent, size, "unpacking")
    unpack_archive(source, staging)
    return _require_all(competition, beside | _search(competition, only_folder(staging)), source)


def _search(competition: Competition, folder: Path) -> Found:
    """What holds each role that is there as a whole, by its first alternative that is."""
    found = {}
    for role, accepted in competition.files.roles().items():
        for names in accepted:
            places = [place for name in names if (place := in_downloads(folder, name)) is not None]
            if len(places) == len(names):
                found[role] = places
                break
    return found


def _require_all(competition: Competition, found: Found, source: Path) -> Found:
    for role, accepted in competition.files.roles().items():
        if role not in found:
            there = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else []
            listing = f" (found: {', '.join(there)})" if there else ""
            raise KitError(f"{source}: contains no {spelled(accepted)}{listing}")
    return found


def _verify(found: Found, raw: Path) -> set[Path]:
    """Check every archive whole, and that there is room for all of them; returns the archives."""
    held = dict.fromkeys(path for paths in found.values() for path in paths)
    sizes = {path: verify_archive(path) for path in held if is_archive(path)}
    if sizes:
        listing = ", ".join(f"{path.name} ({size / 1e6:,.1f} MB)" for path, size in sizes.items())
        console.stage("download", f"verified {listing}")
    require_free(raw.parent, sum(sizes.values()), "unpacking")
    return set(sizes)


def _place(competition: Competition, found: Found, raw: Path, archives: set[Path], staging: Path) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    placed: dict[Path, Path] = {}  # train and test may be one folder
    for role, paths in found.items():
        for path in dict.fromkeys(paths):
            target = raw / unpacked_name(path.name)
            if path in placed:
                target = placed[path]
            elif path in archives and target.suffix.lower() not in TABLES:
                unpack_archive(path, target)
            elif path.is_file() and (role == "sample_submission" or path in archives):  # train.csv.zip
                place_table(path, target)
            elif staging in path.parents:
                _clear(target)
                path.rename(target)
            else:
                _link(path, target)
            placed[path] = target
            console.stage("download", f"{role.replace('_', ' ')}: {path} -> {target}")
    for name in competition.files.names():
        other = raw / unpacked(raw, name).relative_to(raw).parts[0]
        if other not in placed.values() and other.exists():  # only with --force: another would be found first
            _clear(other)


def _clear(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def place_table(path: Path, target: Path) -> None:
    """A copy, of a table that may be alone in an archive."""
    data = path.read_bytes() if not is_archive(path) else _only_member(path)
    if target.suffix != ".json" and data[:64].lstrip()[:1] in {b"<", b"{", b""}:
        raise KitError(f"{path}: is not a CSV (it begins with {data[:20]!r}); get it again")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def _only_member(path: Path) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place) / "inside"
        unpack_archive(path, inside)
        tables = list(walk(inside))
        if len(tables) != 1:
            raise KitError(f"{path}: expected one file inside, found {len(tables)}")
        return (inside / tables[0]).read_bytes()


def _link(source: Path, target: Path) -> None:
    """What is already unpacked (maybe in a read-only folder) is used where it is."""
    if target.exists() and target.resolve() == source.resolve():
        return
    temporary = target.with_name(f".{target.name}.{mark()}.tmp")
    try:
        temporary.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError as error:
        raise KitError(f"{target}: cannot link to {source} ({reason(error)}); give a --workspace that can") from None
    if target.is_symlink() or not target.is_dir():
        temporary.replace(target)
        return
    old = target.with_name(f".{target.name}.{mark()}.old")
    target.rename(old)
    temporary.rename(target)
    shutil.rmtree(old)
