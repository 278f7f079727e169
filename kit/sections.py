"""The sections of a competition's YAML: its files, where its labels are, what a sample is, what it expects back."""

import re
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from kit import schema
from kit.tasks import Format

ROLES = ("train", "test", "sample_submission", "train_labels", "test_labels", "test_ids", "test_table", "train_groups")
Place = str | tuple[str, ...]
Together = tuple[str, ...]


@dataclass(frozen=True, config=schema.STRICT)
class Files:
    """Accepted names, in order of preference; `train.zip` also means a folder `train`. A list in the list: all of them
    together. `train/labels.csv`: within that folder, or within train.zip."""

    train: Annotated[tuple[Place, ...], Field(min_length=1)]
    test: tuple[Place, ...] = ()  # empty: labelled pictures only, for a CV without a submission
    sample_submission: tuple[Place, ...] = ()  # empty: a row per test image, in their order
    train_labels: tuple[Place, ...] = ()  # layouts csv, json and idx
    test_labels: tuple[Place, ...] = ()  # of a benchmark that publishes them; they only ever score
    test_table: tuple[Place, ...] = ()  # csv: what the labels' table says of its images but their labels
    train_groups: tuple[Place, ...] = ()  # a table of `labels.group_column`, where it is not the labels' own
    test_ids: tuple[Place, ...] = ()  # without a sample submission: a table whose id column lists the rows
    without: tuple[str, ...] = ()  # folders, at any depth below a role's, or files (*_mask*), left out

    def roles(self) -> dict[str, tuple[Together, ...]]:
        """Role -> what is accepted, of the roles that this competition has."""
        given = {role: getattr(self, role) for role in ROLES}
        return {
            role: tuple((one,) if isinstance(one, str) else one for one in places)
            for role, places in given.items() if places
        }  # fmt: skip

    def names(self) -> list[str]:
        """Of all roles and alternatives."""
        return [name for accepted in self.roles().values() for together in accepted for name in together]


@dataclass(frozen=True, config=schema.STRICT)
class Labels:
    """Where a training image's target is found."""

    classes: tuple[str, ...] = ()  # the order of the model's outputs; empty where the target is a number
    # filename: class.id.ext. folders: a folder per class. csv: a table of ids. json: COCO's images and annotations.
    # idx: MNIST's format, pictures in one file and labels in another. pixels-csv: a table (CSV, parquet, JSON) with a
    # row per picture, its pixels in pixel0, pixel1, ..., in one cell with blanks between them, or in lists
    layout: Literal["filename", "folders", "csv", "json", "idx", "pixels-csv"] = "filename"
    id_column: str = "id"  # csv: a file's name, with or without its ending; pixels-csv: the id, where there is one
    column: str = "label"  # csv and pixels-csv: the class, the classes, or the number
    # csv, instead of `column`. Task number: several numbers an image. Task labels: several questions, each answered by
    # one class, which `classes` calls COLUMN=CELL
    columns: tuple[str, ...] = ()
    joined: str | None = None  # csv: a row per image and class, or one of `columns`; `id_column` holds ID, this, and it
    wide: bool = False  # csv: a column of 0 and 1 per class, named after it, instead of `column`
    separator: str = " "  # csv, task labels: between the classes in one cell
    empty: Literal["missing", "none"] = "missing"  # csv, task labels: what an empty cell is, or that no class applies
    pattern: str | None = None  # filename: a regular expression for the file's name, with (?P<class>...)
    # what cells, folders and names say -> the class it means; csv: a column -> what `columns` or `classes` call it
    rename: dict[str, str] = field(default_factory=dict)
    level: int = -1  # folders: which folder is the class. -1: the nearest; 0: the role's own, 1: those in it
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)  # rows whose column holds one of these
    # images of one patient, site, ... stay in one fold: by a column of the labels, csv and json, or of
    # `files.train_groups`, whose `group_id_column` names the pictures
    group_column: str | None = None
    group_id_column: str | None = None
    group_pattern: str | None = None  # where pictures are files: as `pattern`, for the whole path, with (?P<group>...)
    first_id: int = 0  # idx and pixels-csv: the first picture's id
    pixel_shape: tuple[int, int] | None = None  # (height, width) of a table's rows of pixels that are not square

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a class appears twice")
        for key, pattern, name in (("pattern", self.pattern, "class"), ("group_pattern", self.group_pattern, "group")):
            if pattern is not None:
                _require_group(key, pattern, name)
        if self.group_column is not None and self.group_pattern is not None:
            raise ValueError("group_pattern: is set beside group_column; name one of them")

    @property
    def asked(self) -> tuple[str, ...]:
        """What an image is asked for, where it has a row or a column for each."""
        return self.columns or self.classes

    @property
    def parts(self) -> tuple[int, ...]:
        """The number of classes of each question; empty where there are no questions."""
        if not self.columns or not self.classes:
            return ()
        return tuple(sum(name.startswith(f"{column}=") for name in self.classes) for column in self.columns)

    def class_of(self, word: str) -> str:
        """What a cell, a folder or a part of a name means."""
        return self.rename.get(word, word)


@dataclass(frozen=True, config=schema.STRICT)
class Pictures:
    """Where a sample has several pictures, which: the files called as its id and one of `endings`; those whose path
    `pattern` gives the same (?P<sample>...); or those that the rows of a table name which share `columns`."""

    endings: tuple[str, ...] = ()  # [_red, _green]: ID_red.png and ID_green.png are sample ID
    pattern: str | None = None  # a regular expression for the path, its role's folder first
    columns: tuple[str, ...] = ()  # csv: the sample's id is their cells, with `separator` between them
    separator: str = "_"
    together: Literal["mean", "channels"] = "mean"  # of their predictions; or one picture of all their channels
    gray: bool = False  # together channels: one channel each, instead of three

    def __post_init__(self) -> None:
        ways = [bool(self.endings), self.pattern is not None, bool(self.columns)]
        if sum(ways) != 1:
            raise ValueError("pictures: name one of endings, pattern and columns")
        if self.pattern is not None:
            _require_group("pictures.pattern", self.pattern, "sample")
        if self.together == "channels" and not self.endings:
            raise ValueError("pictures.together: channels need pictures.endings, which says their order")
        if self.gray and self.together != "channels":
            raise ValueError("pictures.gray: belongs to together: channels")
        if len(set(self.endings)) < len(self.endings) or "" in self.endings:
            raise ValueError("pictures.endings: expected different ones, none of them empty")


def _require_group(key: str, pattern: str, name: str) -> None:
    try:
        named = name in re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"{key}: is no regular expression: {error}") from None
    if not named:
        raise ValueError(f"{key}: expected a group (?P<{name}>...) for the {name}")


@dataclass(frozen=True, config=schema.STRICT)
class Columns:
    """What the labels' table, and the test images' (`files.test_table`), say beside the picture: for `data.columns`."""

    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = (*self.numbers, *self.categories)
        if not both or len(set(both)) < len(both):
            raise ValueError("columns: expected different ones, of numbers and categories together")


@dataclass(frozen=True, config=schema.STRICT)
class Submission:
    """What the competition expects back; columns as in its sample file."""

    format: Format
    id_column: str = "id"
    column: str | None = "label"  # all formats but probabilities and numbers, which have a column each
    positive: str | None = None  # format probability: whose probability
    values: dict[str, int | str] = field(default_factory=dict)  # hard classes: class -> what is written
    separator: str = " "  # formats labels and top_k: between the classes in one cell
    joined: str | None = None  # a row per image and class, or one of labels.columns: `id_column` holds ID, this, and it
    new_class: str | None = (
        None  # format top_k: the class for none of the others; training images may or may not show it
    )


@dataclass(frozen=True, config=schema.STRICT)
class HiddenTest:
    """Of a code competition, from its page; no call of Kaggle's tells it."""

    hours: Annotated[float, Field(gt=0)] = 9.0  # that the notebook may take
    images: Annotated[int, Field(ge=1)] | None = None  # about how many are hidden; null: not known
