"""One file or folder of a competition's downloads, and all of them."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pandas as pd

from kit.data.archives import unpacked_name
from kit.data.coco import Coco, parse_coco
from kit.data.containers import names_in, other_columns, picture_in
from kit.data.images import size_of
from kit.data.matching import ARRAYS, FileNames
from kit.data.pixel_tables import LOOKED_AT, is_of_pixels
from kit.data.text_tables import ENDINGS, LISTING, json_table, read_text_csv
from kit.errors import KitError, examples

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Entry:
    """One file or folder. `pictures`: their paths inside it. `read(path)`: a picture's bytes; "": the file's own.
    `container`: a file of many pictures, on the disk."""

    role: str
    read: Read
    pictures: list[str] = field(default_factory=list)
    held: dict[str, Any] = field(default_factory=dict)  # the table or JSON, once read
    container: Path | None = None

    @classmethod
    def of_container(cls, role: str, file: Path) -> Self:
        """HDF5, parquet and the like: its pictures go by their names in it, its other columns are a table."""
        return cls(role, partial(picture_in, file), names_in(file), container=file)

    @property
    def name(self) -> str:
        """As unpacked: `train.zip` becomes `train`."""
        top, _, inside = self.role.partition("/")
        return f"{unpacked_name(top)}/{inside}" if inside else unpacked_name(top)

    @property
    def is_table(self) -> bool:
        """A CSV, a text file that lists pictures, an array of labels, or a JSON of rows, whose pixels may be lists."""
        name = self.name.lower()
        is_json = name.endswith(".json") and (self.container is not None or self._json_rows() is not None)
        return name.endswith((*ENDINGS, LISTING)) or is_json or (name.endswith(ARRAYS) and not self.pictures)

    @property
    def holds_pixels(self) -> bool:
        return self.is_table and is_of_pixels(self.rows())

    def _json_rows(self) -> pd.DataFrame | None:
        """`None` where it is no JSON, or COCO's, or of another form."""
        if "rows" not in self.held:
            data = self.read("") if self.name.lower().endswith(".json") and self.container is None else b""
            try:
                self.held["rows"] = json_table(data, self.role) if data and b'"images"' not in data else None
            except KitError:
                self.held["rows"] = None
        rows: pd.DataFrame | None = self.held["rows"]
        return rows

    def mapping(self) -> dict[str, str]:
        """Codes and what they mean, from a JSON (`{"0": "healthy", ...}`) or a table of two columns; empty where it is
        none."""
        rows = self._json_rows()
        if rows is None and self.is_table and self.container is None:
            rows = self.rows()
        if rows is None or len(rows.columns) != 2 or not all(rows[column].is_unique for column in rows):
            return {}
        return dict(rows.itertuples(index=False, name=None))

    @property
    def named(self) -> list[str]:
        """The pictures' paths with the folder's own name first."""
        last = PurePosixPath(self.name).name
        return [f"{last}/{picture}" for picture in self.pictures]

    @property
    def names(self) -> FileNames:
        if "names" not in self.held:
            self.held["names"] = FileNames(self.named)
        names: FileNames = self.held["names"]
        return names

    def table(self) -> pd.DataFrame:
        """The CSV as text; of a container what is not pixels. Raises `KitError` when it is not one."""
        if "table" not in self.held and self.container is not None:
            self.held["table"] = other_columns(self.container)
        elif "table" not in self.held:
            self.held["table"] = read_text_csv(io.BytesIO(self.read("")), self.role)
        table: pd.DataFrame = self.held["table"]
        return table

    def rows(self) -> pd.DataFrame:
        """The table without rows that repeat another word for word."""
        if "unlike" not in self.held:
            self.held["unlike"] = self.table().drop_duplicates(ignore_index=True)
        rows: pd.DataFrame = self.held["unlike"]
        return rows

    def coco(self) -> Coco | None:
        """COCO's images and annotations; `None` where the JSON is something else."""
        if "coco" not in self.held:
            data = self.read("") if self.name.lower().endswith(".json") and self.container is None else b""
            named, marked = b'"file_name"' in data, b'"annotations"' in data
            try:
                self.held["coco"] = parse_coco(data, self.role) if b'"images"' in data and (named or marked) else None
            except KitError:
                if named:
                    raise
                self.held["coco"] = None
        coco: Coco | None = self.held["coco"]
        return coco

    def head(self) -> pd.DataFrame:
        """The table's first rows."""
        if self.container is not None or "table" in self.held:
            return self.table().head(LOOKED_AT)
        return read_text_csv(io.BytesIO(self.read("")), self.role, nrows=LOOKED_AT)

    def size_of(self, picture: str) -> tuple[int, int] | None:
        """(width, height) from the file's header; `None` where it is damaged."""
        return size_of(self.read(picture))


@dataclass(frozen=True)
class Inventory:
    """`unseen`: what is there and not understood, in words."""

    entries: list[Entry]
    unseen: list[str]

    def of(self, roles: Iterable[str]) -> list[Entry]:
        return [entry for entry in self.entries if entry.role in set(roles)]

    def also(self) -> str:
        """For messages: ` (not understood: 24 .dcm in train)`."""
        return f" (not understood: {examples(self.unseen, 6)})" if self.unseen else ""
