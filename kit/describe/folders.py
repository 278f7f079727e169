"""Classes in the pictures' paths: the folders at some level above them, or a part of their names."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import pandas as pd

from kit.data.matching import Match
from kit.describe.case import Case, number_first
from kit.describe.names import is_role, is_test, is_train, words_of
from kit.describe.pictures import Pictures
from kit.errors import examples

LOOKED_AT = 2000
PARTS = {"fold", "part", "batch", "set", "split", "chunk", "shard", "subset", "group"}
PATTERNS = (
    None,  # class.12.jpg
    r"^(?P<class>.+?)[_-]\d+\.",
    r"^(?P<class>[^_-]+)[_-].",
    r"^\d+[_-](?P<class>.+)\.",
    r"^(?P<class>[A-Za-z]+)\d+\.",
)


@dataclass(frozen=True)
class Level:
    """`number` as in `labels.level`; `names`: the folders there."""

    number: int
    names: list[str]

    def fits(self, case: Case) -> bool:
        """Are these what the sample answers with?"""
        shared = case.values & set(self.names)
        return bool(shared) and len(shared) >= 0.9 * min(len(case.values), len(self.names))


class Named(Protocol):
    """A table whose column names the pictures."""

    @property
    def match(self) -> Match: ...


def class_folders(pictures: Pictures, rows: pd.DataFrame | None, table: Named | None, case: Case) -> list[Level]:
    """The levels whose folders may be classes: some, with several pictures each, and not explained otherwise: a column
    of the table, or the first letters of the files' names."""
    named = pictures.named
    above = [name.split("/")[:-1] for name in named]
    depth = min(len(parts) for parts in above)
    first = 0 if len(pictures.train) > 1 else 1
    numbers = list(range(first, depth))
    if all(len(parts) == depth for parts in above) and depth - 1 in numbers:
        numbers.remove(depth - 1)
    levels: list[Level] = []
    for number in [-1, *numbers] if depth > first else []:
        at = [parts[number] for parts in above]
        names = sorted(set(at), key=number_first)
        roles = all(map(is_role, names)) or (any(map(is_train, names)) and any(map(is_test, names)))
        nested = bool(levels) and levels[0].number == -1 and set(levels[0].names) < set(names)  # of a tree in itself
        if len(names) < 2 or len(names) > len(named) / 2 or roles or nested:
            continue
        are_roles = number == 0 or max(map(len, above)) == 1
        if table is not None and are_roles and len({_form(name) for name in names}) == 1:
            continue  # images_001, images_002: parts of what the table is about
        if rows is not None and table is not None and (column := _column_of(at, rows, table.match)) is not None:
            case.folders_in = column
            continue
        if _are_shards(at, named, rows is not None):
            continue
        levels.append(Level(number, names))
    if "labels.level" in case.given:
        return [level for level in levels if str(level.number) == case.given["labels.level"]]
    return [level for level in levels if level.fits(case) or not _are_parts(level.names)] or levels


def file_names(pictures: Pictures, tabled: bool, case: Case) -> tuple[list[str], Mapping[str, Any]] | None:
    """(the classes that the pictures' names tell, what `labels` needs for it). `tabled`: there is a table, to which
    numbers in the names may belong."""
    names = [PurePosixPath(name).name for name in pictures.named]
    found: dict[str, list[str]] = {}
    for pattern in PATTERNS:
        parts = [_class_of(name, pattern) for name in names]
        classes = sorted({part for part in parts if part}, key=number_first)
        likely = 2 <= len(classes) <= max(2, len(names) // 2) and not (tabled and _numbered(classes))
        if pattern is not None and not Level(0, classes).fits(case):
            likely = likely and len(classes) <= max(2, math.isqrt(len(names)))
        if all(parts) and likely and classes not in found.values():
            found[pattern or "class.id.ext"] = classes
    fitting = {one: classes for one, classes in found.items() if Level(0, classes).fits(case)}
    options = fitting if len(fitting) == 1 else found
    if not options or "labels.pattern" in case.given:
        given = case.given.get("labels.pattern")
        parts = [_class_of(name, given) for name in names] if given else []
        return (sorted(set(parts) - {""}, key=number_first), {"pattern": given}) if any(parts) else None
    if "class.id.ext" in options and len(options) > 1:  # the usual one, which says the least
        options = {"class.id.ext": options["class.id.ext"]}
    meanings = [(one, f"{len(classes):,} classes: {examples(classes, 4)}") for one, classes in options.items()]
    chosen = case.choose("labels.pattern", "Which part of a file's name is its class?", meanings)
    return options[chosen], {} if chosen == "class.id.ext" else {"pattern": chosen}


def _class_of(name: str, pattern: str | None) -> str:
    if pattern is None:
        parts = name.split(".")
        return parts[0] if len(parts) >= 3 else ""
    found = re.search(pattern, name)
    return found["class"] if found else ""


def _are_shards(folders: list[str], named: list[str], tabled: bool) -> bool:
    """Folders that only spread the files: 0/7/c of 07c3f2.jpg. In A/A1.jpg and B/B1.jpg a class is numbered; so is it
    in n0/n01.jpg, where no table tells the classes."""
    pairs = [(folder, PurePosixPath(name).stem) for folder, name in zip(folders, named, strict=True)][:LOOKED_AT]
    if not all(folder in stem[:8] for folder, stem in pairs):
        return False
    rests = {stem.replace(folder, "", 1) for folder, stem in pairs}
    parts = tabled and len({_form(folder) for folder in folders}) == 1
    numbers = all(folder.isdecimal() and stem.isdecimal() for folder, stem in pairs)  # 12 of 12345.jpg
    return parts or numbers or len(rests) > 0.5 * len(pairs)


def _form(name: str) -> str:
    return re.sub(r"\d+", "", name)


def _numbered(names: Sequence[str]) -> bool:
    """input_1, input_2: one word, and numbers."""
    forms = {_form(name) for name in names}
    return len(forms) == 1 and any(letter.isalpha() for letter in forms.pop())


def _are_parts(names: Sequence[str]) -> bool:
    """fold_0, fold_1: no classes, where another level may tell them."""
    return _numbered(names) and not PARTS.isdisjoint(words_of(names[0]))


def one_to_one(level: Level, rows: pd.DataFrame, match: Match, pictures: Pictures) -> bool:
    """Does some column of the table say of each picture what its folder says, by other words?"""
    folders = [name.split("/")[:-1][level.number] for name in pictures.named]
    pairs = [(row, folders[places[0]]) for row, places in enumerate(match.places) if places]
    if not pairs:
        return False
    cells, kinds = rows.iloc[[row for row, _ in pairs]], pd.Series([kind for _, kind in pairs])
    for column in map(str, rows):
        both = pd.DataFrame({"cell": cells[column].to_numpy(), "kind": kinds}).drop_duplicates()
        if len(both) > 1 and both["cell"].is_unique and both["kind"].is_unique:
            return True
    return False


def _column_of(folders: list[str], rows: pd.DataFrame, match: Match) -> str | None:
    """The table's column that says of each picture what its folder is called."""
    pairs = [(row, folders[places[0]]) for row, places in enumerate(match.places) if places][:LOOKED_AT]
    wanted = [folder for _, folder in pairs]
    return next((str(c) for c in rows if [rows[c].iloc[row] for row, _ in pairs] == wanted), None)
