"""What must stay in one fold, where the labels' table does not say it: by names, or by a table of its own."""

import re
from collections.abc import Sequence
from pathlib import Path

from kit.competition import Competition
from kit.data.listing import File
from kit.data.matching import FileNames
from kit.data.text_tables import read_text_csv
from kit.errors import KitError, examples, nearest
from kit.sections import Labels


def group_of(labels: Labels, named: str) -> str:
    """What a file's path, the role's folder first in it, says it belongs to: "" where it says nothing."""
    found = re.search(labels.group_pattern, named) if labels.group_pattern else None
    return found["group"] if found else ""


def groups_of(competition: Competition, files: Sequence[File], tables: Sequence[Path]) -> list[str]:
    """For each file its group, by `tables` (`files.train_groups`) where there are some, else by its name."""
    labels = competition.labels
    if not tables:
        return [group_of(labels, file.named) for file in files]
    names, groups = FileNames([file.named for file in files]), [""] * len(files)
    for path in tables:
        table = read_text_csv(path, str(path))
        for key in ("group_id_column", "group_column"):
            if (column := str(getattr(labels, key))) not in table:
                close = nearest(column, table.columns)
                raise KitError(
                    f"{path}: has no column '{column}'{close}; correct `labels.{key}` in the competition's YAML"
                )
        table = table[[labels.group_id_column, labels.group_column]].drop_duplicates()
        ids = table[labels.group_id_column].tolist()
        if several := table[labels.group_id_column][table[labels.group_id_column].duplicated()].tolist():
            raise KitError(f"{path}: {examples(several)}: one picture, and several '{labels.group_column}'")
        matched = names.match(ids)
        if not matched.share:
            both = f"{examples(ids)}; files there: {examples(names.files)}"
            raise KitError(f"{path}: no id of '{labels.group_id_column}' is a picture ({both})")
        for group, places in zip(table[labels.group_column], matched.places, strict=True):
            for place in places:
                groups[place] = group
    return groups
