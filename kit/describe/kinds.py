"""What a file of a competition is, by its name and its first bytes."""

import io
import os
from pathlib import Path

from kit.data.containers import array_shape
from kit.data.images import EXTENSIONS
from kit.data.matching import ARRAYS
from kit.data.text_tables import ENDINGS, LISTING, lists_pictures
from kit.describe.entry import Read
from kit.errors import KitError

HEAD = 8192  # bytes of a JSON that show whether it holds pixels


def shape_of(name: str, read: Read, path: Path | None) -> tuple[int, ...] | None:
    """Of the one array in a .npy or .npz."""
    if not name.endswith(ARRAYS):
        return None
    with io.BytesIO(read("")) if path is None else path.open("rb") as file:
        return array_shape(file)


def head_of(read: Read, path: Path | None) -> bytes:
    if path is None:
        return read("")[:HEAD]
    with path.open("rb") as file:
        return file.read(HEAD)


def ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith((".", "__"))


def is_table(name: str) -> bool:
    return not is_hidden(name) and (ending(name) in {".csv", ".tsv", ".json"} or name.endswith(ENDINGS))


def is_listing(name: str, read: Read) -> bool:
    """Is it a text file, and a list of pictures?"""
    try:
        return ending(name) == LISTING and lists_pictures(read(""))
    except (KitError, OSError):  # a README, encrypted or not ours to read
        return False


def is_picture(name: str) -> bool:
    return ending(name) in EXTENSIONS and not is_hidden(name)
