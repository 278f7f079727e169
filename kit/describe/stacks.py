"""Several files a sample, by their names: ID_red.png, ID_green.png, ID_blue.png for every ID."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from kit.data.images import ImageProblem, decode
from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.errors import examples

MOST = 12  # files a sample
LOOKED_AT = 12  # pictures, for whether they are gray
COLOURS = ("red", "green", "blue", "yellow")
_ENDING = re.compile(r"[_\-. ](?:[A-Za-z][A-Za-z0-9]*|[0-9]{1,2})$")
_CHANNEL = re.compile(
    r"(red|green|blue|yellow|cyan|nir|swir|vv|vh|hh|hv|[cbw]\d{1,2}|ch(annel)?\d*|band\d*|dapi|nuc\w*)$", re.I
)


def gather_files(inventory: Inventory, case: Case) -> Inventory:
    """The inventory with a name per sample, where every picture's name ends in one of a few words, every sample has
    all of them, and no table names a single file. Writes `pictures` into the YAML's mapping."""
    entries = [entry for entry in inventory.entries if entry.pictures]
    endings = {entry.role: _endings(entry) for entry in entries}
    found = [one for one in endings.values() if one]
    if not found or any(one != found[0] for one in found) or _named_singly(inventory, entries):
        return inventory
    ordered = sorted(found[0], key=_order)
    together = _together(ordered, next(entry for entry in entries if endings[entry.role]), case)
    case.raw["pictures"] = {"endings": ordered, "together": together.split()[0]}
    if together == "channels gray":
        case.raw["pictures"]["gray"] = True
    stacked = f"stacked as {together.replace(' gray', ', one each')}"
    how = "their predictions are averaged" if together == "mean" else stacked
    case.because(f"{len(ordered)} files a sample, ID and {examples(ordered, MOST)}: {how}")
    gathered = [_gathered(e, ordered) if endings[e.role] else e for e in inventory.entries if e.role in endings]
    by_role = {entry.role: entry for entry in gathered}
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
    return first if len(kinds) == 1 and 1 < len(first) <= MOST and len(held) > 1 else frozenset()


def _named_singly(inventory: Inventory, entries: Sequence[Entry]) -> bool:
    """Does a table name the files themselves?"""
    names = FileNames([name for entry in entries for name in entry.named])
    tables = [entry.table() for entry in inventory.entries if entry.is_table]
    return any(names.exactly(table[column].head(500).tolist()).share > 0.5 for table in tables for column in table)


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


def _gathered(entry: Entry, endings: Sequence[str]) -> Entry:
    """By the samples' names; read, a sample is its first file."""
    first_of: dict[str, str] = {}
    for picture in entry.pictures:
        bare, suffix = os.path.splitext(picture)
        ending = next(one for one in endings if bare.endswith(one))
        first_of.setdefault(bare.removesuffix(ending) + suffix, picture)
    return Entry(entry.role, partial(_read, entry, first_of), list(first_of), container=entry.container)


def _read(entry: Entry, first_of: dict[str, str], name: str) -> bytes:
    return entry.read(first_of.get(name, name))
