"""Where a picture's bytes are: in a file of its own, or in one file that holds many (`containers`).

`train.csv#17` is row 17 of a table of pixels, `train-image.hdf5#ISIC_1807285` a picture by its name,
`train.parquet#Train_0@137x236` a row of pixels of that height and width."""

import re
from pathlib import Path

from kit.data.containers import picture_in

MARK = "#"
_SHAPE = re.compile(r"@(\d+)x(\d+)$")


def read_bytes(path: Path) -> bytes:
    """The bytes of the picture at `path`; raises `OSError` as a file would, `FileNotFoundError` too where a file stands
    in a folder's place (a picture that a container lacks)."""
    file, name = split_name(path)
    if name is None:
        try:
            return path.read_bytes()
        except NotADirectoryError:
            raise FileNotFoundError(str(path)) from None
    shape = _SHAPE.search(name)
    bare = name[: shape.start()] if shape else name
    return picture_in(file, bare, (int(shape[1]), int(shape[2])) if shape else None)


def named_in(file: str | Path, name: str, shape: tuple[int, int] | None = None) -> str:
    """The path of a picture that a container holds."""
    return f"{file}{MARK}{name}" + (f"@{shape[0]}x{shape[1]}" if shape else "")


def split_name(path: Path) -> tuple[Path, str | None]:
    """(the file, the picture's name within it, or `None` where the file is the picture)"""
    text = str(path)
    if MARK in text and not path.exists():
        for place in (found.start() for found in re.finditer(MARK, text)):
            if Path(text[:place]).is_file():
                return Path(text[:place]), text[place + 1 :]
    return path, None


def holding_file(path: str) -> str:
    return str(split_name(Path(path))[0]) if MARK in path else path
