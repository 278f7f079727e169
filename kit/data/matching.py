"""Which file does an id name? As it stands; else the one way to read both that matches the whole table one to one.

A table says `train/a0`, `A0.PNG`, ` a0`, `7` or `1.0`; the file is called a0.jpg, 0007.png, test-000001.jpg."""

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from kit.data.images import EXTENSIONS
from kit.errors import examples

ENOUGH = 0.9  # of the names, or of the files, must be matched
ARRAYS = (".npy", ".npz")
_OTHER_ENDINGS = {".h5", ".heic", ".json", ".txt"}


@dataclass(frozen=True)
class Match:
    """`places`: for each name the positions of its files, one where all is well. `how`: what was not taken literally,
    "" where nothing."""

    places: list[list[int]]
    how: str = ""

    @property
    def share(self) -> float:
        """Of the names that have a file."""
        return sum(bool(found) for found in self.places) / max(1, len(self.places))

    def fits(self, num_files: int) -> bool:
        """Does nearly every name have a file, or nearly every file a name?"""
        used = {place for found in self.places for place in found}
        return bool(used) and max(self.share, len(used) / max(1, num_files)) >= ENOUGH


class FileNames:
    """Paths of pictures, the name of their folder first."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        self._exact: dict[str, list[int]] | None = None
        self._read: dict[str, dict[str, int] | None] = {}

    @property
    def are_rows(self) -> bool:
        """Are they the rows of one array, called by number?"""
        rows = [file.rpartition("/") for file in self.files]
        return all(row == str(place) and folder.endswith(ARRAYS) for place, (folder, _, row) in enumerate(rows))

    def match(self, names: Sequence[str]) -> Match:
        """A reading that is not literal counts only where it is one to one and better; a name may lack a file only
        where nearly all files have a name."""
        exact = self.exactly(names)
        if exact.share == 1 or not names or not self.files:
            return exact
        for near in self._readings(names):
            if near is not None and (near.share == 1 or (near.share > exact.share and near.fits(len(self.files)))):
                return near
        return exact

    def exactly(self, names: Sequence[str]) -> Match:
        """A file by its name or its path, with or without its folder and its ending."""
        if self._exact is None:
            self._exact = {}
            for place, file in enumerate(self.files):
                inside, last = file.partition("/")[2] or file, file.rpartition("/")[2]
                suffix = os.path.splitext(last)[1]
                for name in {text for one in (last, file, inside) for text in (one, one.removesuffix(suffix))}:
                    self._exact.setdefault(name, []).append(place)
        return Match([self._exact.get(name, []) for name in names])

    def why_not(self, names: Sequence[str]) -> str:
        """Why `names` are not the files, in words, with the nearest of both."""
        for how, key in _READINGS:
            read, known = [key(name) for name in names], {key(file) for file in self.files}
            found = {name for name, text in zip(names, read, strict=True) if text in known}
            if len(found) >= 0.1 * len(names):
                if len(set(read)) < len(read):
                    return f"{how}, several would name one file ({examples(found)})"
                lost = [name for name in names if name not in found]
                return f"{len(lost) / len(names):.0%} without a picture, even {how} ({examples(lost)})"
        return f"{examples(names)} against {examples(self.files)}"

    def _readings(self, names: Sequence[str]) -> Iterator[Match | None]:
        yield self._below_others(names)
        for how, key in _READINGS:
            yield self._by(names, how, key)
        yield self._counted_from(names)

    def _counted_from(self, names: Sequence[str]) -> Match | None:
        """The rows of one array, 0 to N - 1, where the names count them from another number."""
        if not self.are_rows or len(names) != len(self.files) or not all(name.isdecimal() for name in names):
            return None
        first = min(map(int, names))
        places = [int(name) - first for name in names]
        if sorted(places) != list(range(len(names))):
            return None
        return Match([[place] for place in places], f"as rows of the array, counted from {first}")

    def _below_others(self, names: Sequence[str]) -> Match | None:
        """The names' first folders left out, where what follows is each a file's own path."""
        for count in range(1, min((name.count("/") for name in names), default=0)):
            found = self.exactly([name.split("/", count)[-1] for name in names])
            used = [place for places in found.places for place in places]
            if used and max(map(len, found.places)) == 1 and len(set(used)) == len(used):
                return Match(found.places, "without the folders above theirs")
        return None

    def _by(self, names: Sequence[str], how: str, key: Callable[[str], str]) -> Match | None:
        """`None` where two names, or two files, are alike in this reading."""
        if how not in self._read:
            by_key = {key(file): place for place, file in enumerate(self.files)}
            self._read[how] = by_key if len(by_key) == len(self.files) else None
        places = self._read[how]
        if places is None:
            return None
        found = [places.get(key(name)) for name in names]
        used = [place for place in found if place is not None]
        if not used or len(set(used)) < len(used):
            return None
        return Match([[] if place is None else [place] for place in found], how)


def _last(text: str) -> str:
    plain = unicodedata.normalize("NFC", text.strip().replace("\\", "/"))
    return plain.rpartition("/")[2]


def _bare(text: str) -> str:
    stem, dot, ending = _last(text).rpartition(".")
    known = f".{ending.lower()}" in EXTENSIONS or f".{ending.lower()}" in _OTHER_ENDINGS
    return stem if dot and known else _last(text)


def _number(text: str) -> str:
    bare = re.sub(r"^(\d+)\.0+$", r"\1", _bare(text))
    return bare.lstrip("0") or "0" if bare.isdecimal() else bare.casefold()


def _number_at_end(text: str) -> str:
    """Of a file's name; a name that is a number is one."""
    found = re.search(r"(\d+)$", _bare(text))
    is_name = "/" not in text and not _number(text).isdecimal()
    return text if found is None or is_name else found[1].lstrip("0") or "0"


_READINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("without blanks, folders and Unicode's other forms", _last),
    ("without folders and endings", _bare),
    ("without folders and endings, in any case", lambda text: _bare(text).casefold()),
    ("as numbers", _number),
    ("by the number at the end of the name", _number_at_end),
)


def resembles(word: str, codes: Collection[str]) -> bool:
    """Could it be one more of these codes: w_1287fbc, 25 of numbers below 100? Words without digits are no codes."""
    if word.isdecimal():
        return all(code.isdecimal() for code in codes) and len(word) <= 1 + max(map(len, codes), default=0)
    return _form(word) in {_form(code) for code in codes if re.search(r"\d", code)}


def _form(code: str) -> str:
    return re.sub(r"[A-Za-z0-9]", "x", code)
