"""What Kaggle mounts under /kaggle/input, and a workspace made of a dataset's files."""

from pathlib import Path

from kit.errors import KitError
from kit.runners.kaggle.cargo import TABLES
from kit.workspace import Workspace, read_json, write_text

APART = "__"  # stands for / in a dataset's file names, which know no folders


def mount(kaggle: Path, kind: str, name: str | None, marker: str = "*") -> Path:
    """Where a source is mounted: today's place, the older one, else wherever its marker file lies."""
    slug = (name or "").rpartition("/")[2]
    for place in (kaggle / "input" / kind / (name or ""), kaggle / "input" / slug):
        if place.is_dir() and any(place.glob(marker)):
            return place
    if marker != "*":
        for found in sorted((kaggle / "input").glob(f"**/{marker}")):
            return found.parent
    there = sorted(path.name for path in (kaggle / "input").glob("*"))
    raise KitError(f"{kaggle}/input: nothing is mounted for {name} (there is {', '.join(there) or 'nothing'})")


def flat_name(inside: Path) -> str:
    return inside.as_posix().replace("/", APART)


def unfold(place: Path, root: Path) -> Workspace:
    """The tables as they were, the other files as links."""
    for name, text in read_json(place / TABLES).items():
        write_text(root / name, text)
    for path in place.iterdir():
        if APART in path.name:
            target = root / path.name.replace(APART, "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    return Workspace(root)
