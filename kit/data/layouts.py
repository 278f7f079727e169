"""Which image files there are, and each one's class, by the competition's layout."""

import re
from pathlib import Path

import pandas as pd

from kit.data.table import TARGET
from kit.errors import KitError, examples


def list_images(folder: Path, split: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """image_id, split, target_label, path (absolute), problem: a row per file, by id in natural order.

    Layout `filename`: a training image is called `class.id.ext`. A file that names no class is a problem of its own,
    files that all do are a wrong description (`KitError`). Hidden files are passed over.
    """
    hidden = ("Thumbs.db", "desktop.ini")
    files = [
        f for f in folder.rglob("*") if f.is_file() and not f.name.startswith((".", "__")) and f.name not in hidden
    ]
    if not files:
        raise KitError(f"{folder}: no files; expected the {split} images there")
    rows = []
    for file in sorted(files, key=_natural):
        label, problem = "", ""
        if split == "train":
            name = file.name.split(".")[0]
            label = name if name in classes else ""
            problem = "" if label else f"no class in the name: expected class.id.ext with one of {', '.join(classes)}"
        rows.append((file.stem, split, label, str(file), problem))
    table = pd.DataFrame(rows, columns=["image_id", "split", TARGET, "path", "problem"])
    if split == "train" and (table[TARGET] == "").all():
        raise KitError(
            f"{folder}: no file is named class.id.ext with a class of {', '.join(classes)} "
            f"(there is {examples(file.name for file in files)}); labels.classes of the competition's YAML says which"
        )
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        raise KitError(
            f"{folder}: two files have one id: {examples(Path(p).name for p in repeated['path'])}; rename one"
        )
    return table


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """cat.2 before cat.10."""
    parts = re.split(r"(\d+)", str(file))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
