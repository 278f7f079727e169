"""download: Kaggle's archives, or your own, verified and unpacked -> `data/<competition>/raw/`."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from kit import console
from kit.competition import Competition
from kit.data.archives import contents_fingerprint, unpack_zip, verify_zip
from kit.errors import ConfigError, KitError, reason
from kit.kaggle.client import KaggleClient
from kit.locks import lock
from kit.processes import mark
from kit.run.run import Run
from kit.workspace import atomic_path, fingerprint, read_json, require_free, sweep_temporaries, write_json

VERSION = 1


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
            inputs = fingerprint(VERSION, {role: contents_fingerprint(path) for role, path in found.items()})
            names = {role: str(path) for role, path in found.items()}
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
        KaggleClient.connect().download_bundle(competition.slug, bundle, verify_zip)
    return bundle


def _refuse_replacing(competition: Competition, raw: Path, source: Path) -> None:
    """Files in raw/ that did not come from this source may be someone's own: only --force replaces them."""
    roles = competition.files.roles().values()
    there = [path.name for names in roles for path in _spellings(raw, names) if path.exists()]
    if there:
        raise KitError(f"{raw}: already holds files other than {source}'s ({', '.join(there)}); --force replaces them")


def _spellings(raw: Path, names: tuple[str, ...]) -> list[Path]:
    """Where a role may be in raw/: under its own name, without a `.zip` ending."""
    return [raw / name.removesuffix(".zip") for name in names]


def _complete(competition: Competition, raw: Path) -> bool:
    """Is every role already in raw/, with no replacement left half done?"""
    stamp, roles = raw.with_name(".download.json"), competition.files.roles().values()
    whole = not stamp.is_file() or read_json(stamp).get("whole", False)
    return whole and all(any(path.exists() for path in _spellings(raw, names)) for names in roles)


def _find(competition: Competition, source: Path, staging: Path) -> dict[str, Path]:
    """role -> a zip, a folder, or a file. A bundle is verified and laid out in `staging` first."""
    if source.is_dir():
        found = {role: path for role, names in competition.files.roles().items() if (path := _search(source, names))}
        zips = sorted(set(source.glob("*.zip")) - set(found.values()))
        bundle = source / f"{competition.slug}.zip"
        if len(found) < len(competition.files.roles()) and (bundle.is_file() or len(zips) == 1):
            source = bundle if bundle.is_file() else zips[0]
        else:
            return _require_all(competition, found, source)
    size = verify_zip(source)
    require_free(staging.parent, size, "unpacking")
    unpack_zip(source, staging)
    found = {role: path for role, names in competition.files.roles().items() if (path := _search(staging, names))}
    return _require_all(competition, found, source)


def _search(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first name that exists: the file, the folder of that name, or the file in a zip of its own."""
    for name in names:
        for path in (folder / name, folder / name.removesuffix(".zip"), folder / f"{name}.zip"):
            if path.is_file() or path.is_dir():
                return path
    return None


def _require_all(competition: Competition, found: dict[str, Path], source: Path) -> dict[str, Path]:
    for role, names in competition.files.roles().items():
        if role not in found:
            there = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else []
            listing = f" (found: {', '.join(there)})" if there else ""
            raise KitError(f"{source}: contains no {' or '.join(names)}{listing}")
    return found


def _verify(found: dict[str, Path], raw: Path) -> set[Path]:
    """Check every archive whole, and that there is room for all of them; returns the archives."""
    sizes = {path: verify_zip(path) for path in found.values() if path.is_file() and path.suffix == ".zip"}
    if sizes:
        listing = ", ".join(f"{path.name} ({size / 1e6:,.1f} MB)" for path, size in sizes.items())
        console.stage("download", f"verified {listing}")
    require_free(raw.parent, sum(sizes.values()), "unpacking")
    return set(sizes)


def _place(competition: Competition, found: dict[str, Path], raw: Path, archives: set[Path], staging: Path) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    placed: dict[Path, Path] = {}  # train and test may be one folder
    for role, path in found.items():
        target = raw / path.name.removesuffix(".zip")
        if path in placed:
            target = placed[path]
        elif role == "sample_submission":
            _place_table(path, target, is_csv=True)
        elif path in archives and target.suffix in {".csv", ".json"}:  # train.csv.zip
            _place_table(path, target)
        elif path in archives:
            unpack_zip(path, target)
        elif staging in path.parents:
            _clear(target)
            path.rename(target)
        else:
            _link(path, target)
        placed[path] = target
        for other in _spellings(raw, competition.files.roles()[role]):
            if other not in placed.values() and other.exists():  # only with --force: another would be found first
                _clear(other)
        console.stage("download", f"{role.replace('_', ' ')}: {path} -> {target}")


def _clear(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _only_member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        tables = [member for member in archive.namelist() if not member.endswith("/") and "__MACOSX" not in member]
        if len(tables) != 1:
            raise KitError(f"{path}: expected one file inside, found {len(tables)}")
        return archive.read(tables[0])


def _place_table(path: Path, target: Path, is_csv: bool = False) -> None:
    data = _only_member(path) if path.suffix == ".zip" else path.read_bytes()
    if is_csv and data[:64].lstrip()[:1] in {b"<", b"{", b""}:
        raise KitError(f"{path}: is not a CSV (it begins with {data[:20]!r}); get it again")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


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
