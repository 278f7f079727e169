"""Several files a sample, by their names: ID_red.png, ID_green.png, ID_blue.png for every ID; or ID/1.png, ID/2.png."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from kit.data.images import ImageProblem, decode
from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.joined import rows_per_class
from kit.describe.names import is_sample, is_test
from kit.errors import examples

MOST = 12  # files a sample
LOOKED_AT = 12  # pictures, for whether they are gray
COLOURS = ("red", "green", "blue", "yellow")
_ENDING = re.compile(r"[_\-. ](?:[A-Za-z][A-Za-z0-9]*|[0-9]{1,2})$")
_CHANNEL = re.compile(
    r"(red|green|blue|yellow|cyan|nir|swir|vv|vh|hh|hv|[cbw]\d{1,2}|ch(annel)?\d*|band\d*|dapi|nuc\w*)$", re.I
)


def gather_files(inventory: Inventory, case: Case) -> Inventory:
    """The inventory with a name per sample, where no table names a single file, and either the ids that tables list are
    folders, or every picture's name ends in one of a few words, and every sample has all of them. Writes `pictures`
    into the YAML's mapping."""
    entries = [entry for entry in inventory.entries if entry.pictures]
    if not entries or _named_singly(inventory, entries):
        return inventory
    level = _level_of_samples(inventory, entries)
    if level is not None:
        return _by_folder(level, inventory, entries, case)
    endings = {entry.role: _endings(entry) for entry in entries}
    found = [one for one in endings.values() if one]
    if not found or any(one != found[0] for one in found):
        return inventory
    ordered = sorted(found[0], key=_order)
    together = _together(ordered, next(entry for entry in entries if endings[entry.role]), case)
    case.raw["pictures"] = {"endings": ordered, "together": together.split()[0]}
    if together == "channels gray":
        case.raw["pictures"]["gray"] = True
    stacked = f"stacked as {together.replace(' gray', ', one each')}"
    how = "their predictions are averaged" if together == "mean" else stacked
    case.because(f"{len(ordered)} files a sample, ID and {examples(ordered, MOST)}: {how}")
    gathered = [_gathered(e, partial(_without, ordered)) for e in entries if endings[e.role]]
    return _with_entries(inventory, gathered)


def _level_of_samples(inventory: Inventory, entries: Sequence[Entry]) -> int | None:
    """Below the role's folder, which folders are called as the ids of the sample submission, or of a table of the test
    images, and of the labels; the nearest to the pictures. `None`: none."""
    tables = [entry for entry in inventory.entries if entry.is_table]
    asking = [entry for entry in tables if is_sample(entry.name)] or [e for e in tables if is_test(e.name)]
    depth = min(picture.count("/") for entry in entries for picture in entry.pictures)
    for level in reversed(range(depth)):
        folders = {f"{entry.name}/{picture.split('/')[level]}" for entry in entries for picture in entry.pictures}
        names = FileNames(sorted(folders))
        named = [entry.role for entry in tables if _lists(entry.rows(), names)]
        if any(entry.role in named for entry in asking) and set(named) - {entry.role for entry in asking}:
            return level
    return None


def _lists(table: pd.DataFrame, names: FileNames) -> bool:
    """Has it a row for each of some samples, or one for each of them and each class?"""
    unique = [table[column].tolist() for column in table if table[column].is_unique]
    return any(names.match(cells).share > 0.9 for cells in unique) or rows_per_class(table, names) is not None


def _by_folder(level: int, inventory: Inventory, entries: Sequence[Entry], case: Case) -> Inventory:
    case.raw["pictures"] = {"pattern": "^" + "[^/]+/" * (level + 1) + "(?P<sample>[^/]+)/"}
    gathered = [_gathered(entry, lambda bare: bare.split("/")[level]) for entry in entries]
    most = max(Counter(picture.split("/")[level] for entry in entries for picture in entry.pictures).values())
    text = f"a sample is a folder, up to {most:,} pictures in it: their predictions are averaged"
    case.because(f"{text} ({examples(gathered[0].pictures, 2)})")
    return _with_entries(inventory, gathered)


def _with_entries(inventory: Inventory, others: Sequence[Entry]) -> Inventory:
    by_role = {entry.role: entry for entry in others}
    return replace(inventory, entries=[by_role.get(entry.role, entry) for entry in inventory.entries])


def _endings(entry: Entry) -> frozenset[str]:
    """What stands behind the samples' names; empty where these are no sets of files."""
    held: dict[str, set[str]] = defaultdict(set)
    for picture in entry.pictures:
        bare = os.path.splitext(picture)[0]
        match = _ENDING.search(bare)
        if match is None or match.start() == 0:
            return frozenset()
        held[bare[: match.start()]].add(match[0])
    kinds = set(map(frozenset, held.values()))
    first = next(iter(kinds))
    if len(kinds) > 1 or not 1 < len(first) <= MOST or len(held) < 2:
        return frozenset()
    folders = {bare.rpartition("/")[0] for bare in held}
    counts = all(ending[1:].isdecimal() for ending in first)  # cat/1.jpg, cat/2.jpg, ...: as many of each class
    return frozenset() if counts and (len(folders) == len(held) or len(held) <= len(first)) else first


def _named_singly(inventory: Inventory, entries: Sequence[Entry]) -> bool:
    """Does a table name the files themselves?"""
    names = FileNames([name for entry in entries for name in entry.named])
    tables = [entry.rows() for entry in inventory.entries if entry.is_table]
    ids = [table[column] for table in tables for column in table if table[column].is_unique]
    return any(names.exactly(cells.head(500).tolist()).share > 0.5 for cells in ids)


def _order(ending: str) -> tuple[int, str]:
    """Red, green, blue and yellow as one expects them, others by name."""
    word = ending[1:].lower()
    return (COLOURS.index(word) if word in COLOURS else len(COLOURS), ending)


def _together(endings: Sequence[str], entry: Entry, case: Case) -> str:
    are_channels = all(_CHANNEL.search(ending) for ending in endings)
    gray = all(_is_gray(entry, picture) for picture in entry.pictures[:LOOKED_AT]) or are_channels
    options = [("channels", "one picture of all their channels"), ("mean", "their predictions are averaged")]
    if are_channels and "pictures.together" not in case.given:
        return "channels gray" if gray else "channels"
    chosen = case.choose("pictures.together", f"Each sample has {len(endings)} files ({examples(endings)}).", options)
    return "channels gray" if chosen == "channels" and gray else chosen


def _is_gray(entry: Entry, picture: str) -> bool:
    """One channel's worth: all alike, or all but one black."""
    try:
        rgb = decode(entry.read(picture)).rgb
    except ImageProblem:
        return True
    return bool((rgb == rgb[..., :1]).all()) or int((rgb.reshape(-1, 3).max(axis=0) > 0).sum()) <= 1


def _without(endings: Sequence[str], bare: str) -> str:
    return bare.removesuffix(next(one for one in endings if bare.endswith(one)))


def _gathered(entry: Entry, sample_of: Callable[[str], str]) -> Entry:
    """By the samples' names, each from a picture's path without its ending; read, a sample is its first file."""
    first_of: dict[str, str] = {}
    for picture in entry.pictures:
        bare, suffix = os.path.splitext(picture)
        first_of.setdefault(sample_of(bare) + suffix, picture)
    return Entry(entry.role, partial(_read, entry, first_of), list(first_of), container=entry.container)


def _read(entry: Entry, first_of: dict[str, str], name: str) -> bytes:
    return entry.read(first_of.get(name, name))
