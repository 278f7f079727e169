"""What Kaggle mounts under /kaggle/input, and a workspace made of a dataset's files."""

import json
from pathlib import Path

from kit.errors import KitError
from kit.runners.kaggle.cargo import TABLES
from kit.workspace import Workspace, read_json, write_text

LINKS = "links"  # among the tables: path in the workspace -> file of the dataset, which knows no folders


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


def unfold(place: Path, root: Path) -> Workspace:
    """The tables as they were, the other files as links: `LINKS` says which file is which."""
    tables = read_json(place / TABLES)
    for inside, name in json.loads(tables.pop(LINKS, "{}")).items():
        (root / inside).parent.mkdir(parents=True, exist_ok=True)
        (root / inside).symlink_to(place / name)
    for inside, text in tables.items():
        write_text(root / inside, text)
    return Workspace(root)
