"""Tables of labels: a CSV with a row per image, or COCO's JSON -> image_id, target columns, given_group, file.

Everything is text; a label is "0" or "1". `file` is empty where the id itself names the picture's file. A cell that
does not fit the competition's description raises a `KitError` that names the file, the column and examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.coco import parse_coco
from kit.data.columns import PREFIX, names_of, require_numbers
from kit.data.reading import SEPARATOR
from kit.data.table import TARGET, require_one_row
from kit.data.text_tables import a_column_each, read_text_csv
from kit.errors import KitError, counted, examples, nearest


def read_labels(competition: Competition, files: Sequence[Path]) -> pd.DataFrame:
    """The rows of all the files."""
    read = _read_json if competition.labels.layout == "json" else _read_csv
    table = pd.concat([read(competition, file) for file in files], ignore_index=True)
    require_one_row(table["image_id"], " and ".join(map(str, files)))
    return table


def _read_csv(competition: Competition, file: Path, has_labels: bool = True) -> pd.DataFrame:
    labels = competition.labels
    table = read_text_csv(file, str(file))
    if labels.joined is not None and has_labels:
        table = _a_column_each(competition, table, file)
    if (labels.wide or labels.columns) and has_labels:
        table = table.rename(columns=labels.rename)
    needed = {"labels.id_column": [labels.id_column]}
    by_column = labels.wide or (labels.joined is not None and not labels.columns)
    several = {"labels.classes": list(competition.classes)} if by_column else {"labels.columns": list(labels.columns)}
    needed |= several if by_column or labels.columns else {"labels.column": [labels.column]}
    group = None if competition.files.train_groups else labels.group_column
    needed |= {"labels.group_column": [group]} if group else {}
    needed |= {"pictures.columns": list(competition.pictures.columns)} if competition.pictures else {}
    if competition.columns is not None:
        needed["columns"] = [name.removeprefix(PREFIX) for name in names_of(competition)]
    if not has_labels:
        for key in ("labels.classes", "labels.columns", "labels.column", "labels.group_column", "labels.only"):
            needed.pop(key, None)
    needed["labels.only"] = list(labels.only)
    for key, columns in needed.items():
        missing = [column for column in columns if column not in table]
        if missing:
            close = nearest(missing[0], table.columns)
            raise KitError(f"{file}: has no column '{missing[0]}'{close}; correct `{key}` in the competition's YAML")
    table, whole = table.drop_duplicates(), len(table)
    if len(table) < whole:
        console.warn(f"{file}: {counted(whole - len(table), 'repeated row')} left out")
    table = table[~table[labels.id_column].map(is_junk).astype(bool)].reset_index(drop=True)
    for column, values in labels.only.items() if has_labels else ():
        table = table[table[column].isin(values)].reset_index(drop=True)
    ids = table[labels.id_column]
    require_one_row(ids, f"{file}: column '{labels.id_column}'")
    result = pd.DataFrame({"image_id": ids, "given_group": table.get(group, "")})
    if (pictures := competition.pictures) is not None and pictures.columns:
        result["sample"] = table[list(pictures.columns)].agg(pictures.separator.join, axis=1)
    if competition.columns is not None:
        require_numbers(table, competition, str(file))
        known = [name.removeprefix(PREFIX) for name in names_of(competition)]
        result[names_of(competition)] = table[known].apply(lambda column: column.str.strip())
    if not has_labels:
        return result.reindex(columns=[*result, *competition.targets], fill_value="").assign(file="")
    result[competition.targets] = _wide(competition, table, file) if by_column else _cells(competition, table, file)
    return result.assign(file="")


def read_test_table(competition: Competition, file: Path) -> pd.DataFrame:
    """As `read_labels`, of the test images: without targets."""
    return _read_csv(competition, file, has_labels=False)


def one_per_sample(table: pd.DataFrame, competition: Competition, source: str) -> pd.DataFrame:
    """A row per picture, with its `sample` -> a row per sample, in the order of their first pictures. Raises `KitError`
    where a sample's pictures have different targets or groups."""
    known = [name for name in (*competition.targets, "given_group") if name in table]
    for name in known:
        several = table[table[name] != ""].groupby("sample", sort=False)[name].nunique()
        if (several > 1).any():
            those = examples(several[several > 1].index)
            advice = "correct `pictures.columns` in the competition's YAML"
            raise KitError(f"{source}: pictures of one sample differ in {name} ({those}); {advice}")
    first = table.groupby("sample", sort=False)[known].max()  # what is known, where some cells are empty
    for name in names_of(competition):
        cells = table[table[name] != ""].groupby("sample", sort=False)[name].agg(lambda one: _common(one, competition))
        first[name] = cells.reindex(first.index).fillna("")
    paths = table.groupby("sample", sort=False)["path"].agg(SEPARATOR.join)
    return first.assign(path=paths, file="").rename_axis("image_id").reset_index()


def _common(cells: pd.Series, competition: Competition) -> str:
    """A column of a sample's pictures: numbers have a mean; of a category that differs nothing is known."""
    if competition.columns is not None and str(cells.name).removeprefix(PREFIX) in competition.columns.numbers:
        return f"{pd.to_numeric(cells, errors='coerce').mean():.9g}"
    return str(cells.iloc[0]) if cells.nunique() == 1 else ""


def _a_column_each(competition: Competition, table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """A row per image and class -> a row per image with a column per class, "" where it has no row."""
    labels = competition.labels
    for key, column in (("labels.id_column", labels.id_column), ("labels.column", labels.column)):
        if column not in table:
            close = nearest(column, table.columns)
            raise KitError(f"{file}: has no column '{column}'{close}; correct `{key}` in the competition's YAML")
    try:
        return a_column_each(table, labels.id_column, labels.column, labels.joined or "", labels.asked)
    except ValueError as error:
        expected = f"an id, '{labels.joined}' and one of {examples(labels.asked, 6)}, once or alike"
        raise KitError(f"{file}: column '{labels.id_column}' holds '{error}': expected {expected}") from None


def _wide(competition: Competition, table: pd.DataFrame, file: Path) -> np.ndarray:
    """A column of 0 and 1 (or -1 and 1) per class -> text (N, targets), empty where a cell is."""
    columns = list(competition.classes)
    empty = (table[columns].apply(lambda column: column.str.strip()) == "").to_numpy()
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if not (numbers == 0).any():
        numbers[numbers == -1] = 0
    wrong = ~np.isin(numbers, (0.0, 1.0)) & ~empty
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise KitError(f"{file}: column '{columns[column]}' holds '{table[columns].iloc[row, column]}', not 0 or 1")
    missing = empty.any(axis=1)
    if competition.task == "labels":
        return np.where(missing[:, None], "", np.where(numbers > 0, "1", "0"))
    count = np.where(missing, 1, np.nansum(numbers, axis=1))
    if (count != 1).any():
        row, more = int(np.flatnonzero(count != 1)[0]), (count != 1).sum() - 1
        found = f"{table[competition.labels.id_column].iloc[row]} has {count[row]:.0f} classes, expected one"
        raise KitError(f"{file}: {found} (and {more:,} more such rows); for several per image, set task: labels")
    found = np.array(columns, dtype=object)[np.nan_to_num(numbers).argmax(axis=1)]
    return np.where(missing, "", found)[:, None]


def _cells(competition: Competition, table: pd.DataFrame, file: Path) -> np.ndarray:
    """A class, delimited classes, or numbers -> text (N, targets), empty where the cell is."""
    if competition.task == "number":
        return np.stack([_numbers(table[name], f"{file}: column '{name}'") for name in competition.numbers], axis=1)
    if competition.questions:
        return _answers(competition, table, file)
    column, class_of = competition.labels.column, competition.labels.class_of
    cells = table[column].str.strip()
    where = f"{file}: column '{column}'"
    if competition.task == "labels":
        sets = [[class_of(word) for word in split_cell(cell, competition.labels.separator)] for cell in cells]
        _refuse_strangers({part for parts in sets for part in parts}, competition, where)
        known = np.array([["1" if name in parts else "0" for name in competition.classes] for parts in sets])
        return np.where((cells == "").to_numpy()[:, None] & (competition.labels.empty == "missing"), "", known)
    cells = cells.map(class_of)
    _refuse_strangers(set(cells) - {""}, competition, where)
    return cells.to_numpy(str)[:, None]


def _answers(competition: Competition, table: pd.DataFrame, file: Path) -> np.ndarray:
    """A class in a column per question -> text (N, targets), empty where one is: what is half known is not learned."""
    words = []
    for column in competition.questions:
        cells = table[column].str.strip()
        named = (column + "=" + cells).map(competition.labels.class_of).where(cells != "", "")
        _refuse_strangers(set(named) - {""}, competition, f"{file}: column '{column}'")
        words.append(named.to_numpy(str))
    given = np.stack(words, axis=1)
    is_given = (given[:, :, None] == np.array(competition.classes)).any(axis=1)
    return np.where((given == "").any(axis=1)[:, None], "", np.where(is_given, "1", "0"))


def _numbers(column: pd.Series, where: str) -> np.ndarray:
    """Text (N,), empty where the cell is."""
    cells = column.str.strip()
    wrong = cells[~np.isfinite(pd.to_numeric(cells, errors="coerce")) & (cells != "")]
    if len(wrong):
        raise KitError(
            f"{where}: {counted(len(wrong), 'cell')} without a number ({examples(map(repr, wrong.unique()))})"
        )
    return cells.to_numpy(str)


def split_cell(cell: str, separator: str) -> list[str]:
    """The words of a cell; a Python list ("['cat', 'dog']") without its brackets and quotes."""
    if cell[:1] in {"[", "("} and cell[-1:] in {"]", ")"}:
        cell = cell[1:-1]
    parts = [part.strip().strip("'\"") for part in cell.split(separator)]
    return [part for part in parts if part]


def is_junk(name: str) -> bool:
    """A row for what a folder's listing held beside the pictures."""
    last = name.rpartition("/")[2]
    return last.startswith((".", "__MACOSX")) or last in {"Thumbs.db", "desktop.ini"}


def _refuse_strangers(found: set[str], competition: Competition, where: str) -> None:
    strangers = sorted(found - set(competition.classes))
    if strangers:
        both = f"{examples(map(repr, strangers))}; classes: {examples(competition.classes, 5)}"
        wrong = f"{counted(len(strangers), 'value')} not among the {len(competition.classes)} classes ({both})"
        raise KitError(f"{where}: {wrong}; correct `labels.classes` in the competition's YAML, or the cells")


def _read_json(competition: Competition, file: Path) -> pd.DataFrame:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise KitError(f"{file}: cannot be read: {error}") from None
    coco = parse_coco(data, str(file))
    images, marks = coco.files, [(image, competition.labels.class_of(name)) for image, name in coco.marks]
    homeless = [image for image, _ in marks if image not in images]
    if homeless:
        raise KitError(f"{file}: annotations: {len(homeless):,} belong to no listed image ({examples(homeless)})")
    _refuse_strangers({name for _, name in marks}, competition, f"{file}: annotations")
    sets: dict[str, set[str]] = {image: set() for image in images}
    for image, name in marks:
        sets[image].add(name)
    result = pd.DataFrame({"image_id": list(images), "given_group": "", "file": list(images.values())})
    if competition.labels.group_column is not None and not competition.files.train_groups:
        result["given_group"] = [facts.get(competition.labels.group_column, "") for facts in coco.facts]
    if competition.task == "labels":
        bits = [["1" if name in sets[image] else "0" for name in competition.classes] for image in images]
        result[competition.targets] = bits if marks else [[""] * len(competition.classes)] * len(bits)
        return result
    several = [image for image, found in sets.items() if len(found) > 1]
    if several:
        raise KitError(
            f"{file}: {counted(len(several), 'image')} with several classes ({examples(several)}); set task: labels"
        )
    result[TARGET] = [next(iter(sets[image]), "") for image in images]
    return result
