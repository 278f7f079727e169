"""What a review of suspects changed: `corrections.csv` (image_id, action: drop, relabel, fine; target), applied."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.data.table import TARGET, require_one_row
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError, counted, examples

ACTIONS = ("drop", "relabel", "fine")


def apply_corrections(file: Path, index: pd.DataFrame, competition: Competition) -> tuple[pd.DataFrame, np.ndarray]:
    """(the index with the relabelled images' targets, bool (N,): the dropped ones). They change what is learned; what
    is scored, and in which fold, stays as it was given. Raises `KitError` where a row does not name a training image or
    a class, or its action does not fit the task."""
    table = read_corrections(file)
    train = index.index[index["split"] == "train"]
    row_of = dict(zip(index.loc[train, "image_id"], train, strict=True))
    strangers = [image_id for image_id in table["image_id"] if image_id not in row_of]
    if strangers:
        raise KitError(f"{file}: {counted(len(strangers), 'id')} not of the training images ({examples(strangers)})")
    relabelled = table[table["action"] == "relabel"]
    if len(relabelled) and competition.task not in {"classes", "ordinal"}:
        raise KitError(f"{file}: relabel needs one class per image, not task {competition.task}; drop or fine would do")
    wrong = sorted(set(relabelled["target"]) - set(competition.classes))
    if wrong:
        raise KitError(f"{file}: column 'target': {examples(wrong)} is not one of {examples(competition.classes)}")
    index, dropped = index.copy(), np.zeros(len(index), bool)
    index.loc[[row_of[i] for i in relabelled["image_id"]], TARGET] = relabelled["target"].tolist()
    dropped[[row_of[i] for i in table.loc[table["action"] == "drop", "image_id"]]] = True
    return index, dropped


def touched_images(file: Path, index: pd.DataFrame, competition: Competition) -> set[str]:
    """The training images that are dropped or relabelled."""
    corrected, dropped = apply_corrections(file, index, competition)
    relabelled = (corrected[competition.targets] != index[competition.targets]).any(axis=1).to_numpy()
    return set(index["image_id"][(dropped | relabelled) & (index["split"] == "train")])


def read_corrections(file: Path) -> pd.DataFrame:
    """image_id, action, target as text. Raises `ConfigError` where there is no such file, `KitError` on a wrong row."""
    if not file.is_file():
        raise ConfigError(f"data.corrections: {file}: no such file; `kit audit` and the run's report make one")
    table = read_text_csv(file, str(file))
    missing = [column for column in ("image_id", "action") if column not in table]
    if missing:
        raise KitError(f"{file}: has no column '{missing[0]}'; expected image_id, action, target")
    if "target" not in table:
        table["target"] = ""
    require_one_row(table["image_id"], f"{file}: column 'image_id'")
    unknown = sorted(set(table["action"]) - set(ACTIONS))
    if unknown:
        raise KitError(f"{file}: column 'action': '{unknown[0]}' is not one of {', '.join(ACTIONS)}")
    return table
