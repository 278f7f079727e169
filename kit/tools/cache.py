"""cache: what is kept to save time (pixels, features, measured speeds), and clearing it. All of it can be remade."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kit import console
from kit.data.cache import outside
from kit.locks import lock
from kit.workspace import Workspace, sweep_temporaries


@dataclass(frozen=True)
class CacheResult:
    files: list[Path]
    num_bytes: int
    cleared: bool


def cache(workspace: Workspace, clear: bool = False, cache_dir: str | None = None) -> CacheResult:
    """List what the workspace and `machine.cache_dir` keep, or remove it (`clear`). Runs, folds and submissions are not
    part of it."""
    folders = sorted((workspace.root / "data").glob("*/cache"))
    folders += sorted(outside(cache_dir).glob("*")) if cache_dir is not None else []
    arrays = [path for folder in folders for path in sorted(folder.glob("*.npy"))]
    files = arrays + [path for path in [workspace.speeds()] if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    total = f"{sum(sizes) / 1e6:,.1f} MB in {len(files)} files"
    if clear:
        for folder in folders:
            with lock(folder / ".lock", str(folder)):
                sweep_temporaries(folder)
                for path in folder.glob("*.npy"):
                    path.unlink()
        workspace.speeds().unlink(missing_ok=True)
        console.stage("cache", f"cleared {total}; what is needed will be made again")
        return CacheResult(files, sum(sizes), True)
    used = [datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M") for path in files]
    facts = zip(files, sizes, used, strict=True)
    rows = [[str(path).removeprefix(f"{workspace.root}/"), f"{size / 1e6:,.1f}", when] for path, size, when in facts]
    console.table(f"{total}; `kit cache clear` removes them", ["file", "MB", "last used"], rows)
    return CacheResult(files, sum(sizes), False)
