"""A competition, described: where its files are, how its labels are read, how it scores, what it expects back.

`Competition.load("dogs-vs-cats")` reads configs/competitions/dogs-vs-cats.yaml. Nothing else in the kit knows a
competition's name."""

import re
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from kit import schema
from kit.consistent import require_consistent
from kit.errors import ConfigError
from kit.joined import joined, split_joined
from kit.metrics import Metric, find_metric
from kit.metrics.own import is_own, own_metric
from kit.tasks import Format, Task

if TYPE_CHECKING:  # every command imports this file
    import pandas as pd

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAME_WORDS = "letters, digits, '.', '_' and '-', a letter or digit first"
MOST_LETTERS = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MOST_LETTERS)]


ROLES = ("train", "test", "sample_submission", "train_labels", "test_labels", "test_ids")
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
    test_ids: tuple[Place, ...] = ()  # without a sample submission: a table whose id column lists the rows

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
    # row per picture, its pixels in pixel0, pixel1, ... or in lists
    layout: Literal["filename", "folders", "csv", "json", "idx", "pixels-csv"] = "filename"
    id_column: str = "id"  # csv: a file's name, with or without its ending; pixels-csv: the id, where there is one
    column: str = "label"  # csv and pixels-csv: the class, the classes, or the number
    columns: tuple[str, ...] = ()  # csv, task number: several numbers an image, instead of `column`
    joined: str | None = None  # csv, task labels: a row per image and class, `id_column` holds ID, this, and the class
    wide: bool = False  # csv: a column of 0 and 1 per class, named after it, instead of `column`
    separator: str = " "  # csv, task labels: between the classes in one cell
    empty: Literal["missing", "none"] = "missing"  # csv, task labels: what an empty cell is, or that no class applies
    pattern: str | None = None  # filename: a regular expression for the file's name, with (?P<class>...)
    rename: dict[str, str] = field(default_factory=dict)  # what cells, folders and names say -> the class it means
    level: int = -1  # folders: which folder is the class. -1: the nearest; 0: the role's own, 1: those in it
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)  # csv: rows whose column holds one of these
    group_column: str | None = None  # csv and json: images of one patient, site, ... stay in one fold
    group_pattern: str | None = None  # folders and filename: as `pattern`, for the whole path, with (?P<group>...)
    first_id: int = 0  # idx and pixels-csv: the first picture's id
    pixel_shape: tuple[int, int] | None = None  # (height, width) of a table's rows of pixels that are not square

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a class appears twice")
        for key, pattern, name in (("pattern", self.pattern, "class"), ("group_pattern", self.group_pattern, "group")):
            try:
                named = pattern is None or name in re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"{key}: is no regular expression: {error}") from None
            if not named:
                raise ValueError(f"{key}: expected a group (?P<{name}>...) for the {name}")

    def class_of(self, word: str) -> str:
        """What a cell, a folder or a part of a name means."""
        return self.rename.get(word, word)


@dataclass(frozen=True, config=schema.STRICT)
class Submission:
    """What the competition expects back; columns as in its sample file."""

    format: Format
    id_column: str = "id"
    column: str | None = "label"  # all formats but probabilities and numbers, which have a column each
    positive: str | None = None  # format probability: whose probability
    values: dict[str, int | str] = field(default_factory=dict)  # hard classes: class -> what is written
    separator: str = " "  # formats labels and top_k: between the classes in one cell
    joined: str | None = None  # format probabilities: a row per image and class, `id_column` holds ID, this, the class
    new_class: str | None = (
        None  # format top_k: the class for none of the others; training images may or may not show it
    )


@dataclass(frozen=True, config=schema.STRICT)
class HiddenTest:
    """Of a code competition, from its page; no call of Kaggle's tells it."""

    hours: Annotated[float, Field(gt=0)] = 9.0  # that the notebook may take
    images: Annotated[int, Field(ge=1)] | None = None  # about how many are hidden; null: not known


@dataclass(frozen=True, config=schema.STRICT)
class Competition:
    """One competition. `name` is its folder under data/, `slug` its address on Kaggle (None: it is not on Kaggle)."""

    name: Name
    title: str
    files: Files
    labels: Labels
    metric: str  # a name, or FILE.py:FUNCTION beside the YAML
    submission: Submission
    task: Task = "classes"
    slug: Name | None = None
    metric_options: dict[str, Any] = field(default_factory=dict)
    hidden_test: HiddenTest = field(default_factory=HiddenTest)

    def __post_init__(self) -> None:
        require_consistent(self)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a competition's YAML: a path, or a name under configs/competitions/."""
        file = schema.find_config(path, "competitions")
        raw = schema.read_mapping(file)
        if is_own(raw.get("metric")):
            raw["metric"] = str(file.parent / raw["metric"])
        competition = schema.build(cls, raw, str(file))
        if competition.name != file.stem:
            raise ConfigError(f"{file}: name: '{competition.name}' should be the file's own name, '{file.stem}'")
        return competition

    @property
    def scoring(self) -> Metric:
        if is_own(self.metric):
            return own_metric(self.metric, self.metric_options, self.submission, self.answers)
        return find_metric(self.metric, self.metric_options, self.labels.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are to be predicted as they are; empty where the target is a class."""
        return () if self.task != "number" else self.labels.columns or (self.labels.column,)

    @property
    def num_outputs(self) -> int:
        """Width of the model's output: a logit per class, or the numbers."""
        return len(self.classes) or len(self.numbers)

    @property
    def targets(self) -> list[str]:
        """Columns of the index: `target_label`, or one per label (0 or 1), or one per number."""
        several = self.classes if self.task == "labels" else self.numbers
        return [f"target_{name}" for name in several] or ["target_label"]

    @property
    def predictions(self) -> list[str]:
        """Columns of oof.csv and test.csv: `prob_<class>` each, or `pred_<target>`."""
        return [f"prob_{name}" for name in self.classes] or [f"pred_{name}" for name in self.numbers]

    @property
    def positive_index(self) -> int:
        """The class whose probability a one-column submission holds."""
        return self.classes.index(self.submission.positive or self.classes[-1])

    @property
    def handed_in(self) -> tuple[str, ...]:
        """What a submission may hold: the classes, plus one for the unknown where no training image shows it."""
        new = self.submission.new_class
        return self.classes if new is None or new in self.classes else (*self.classes, new)

    def written(self, name: str) -> str:
        return str(self.submission.values.get(name, name))

    def images_of(self, rows: Sequence[str]) -> list[str]:
        """The images that the id cells of a submission are about, each once, in their order. Raises `ValueError`."""
        joint = self.submission.joined
        return list(rows) if joint is None else list(dict.fromkeys(split_joined(rows, joint, self.classes)[0]))

    def rows_of(self, images: Sequence[str]) -> list[str]:
        """The id cells of a submission about these images, in the order of `answers`."""
        joint = self.submission.joined
        return list(images) if joint is None else joined(images, joint, self.classes)

    def answers(self, decisions: np.ndarray) -> "pd.DataFrame":
        """What is handed in for `decisions` (`Metric.decide`): the submission's columns but the id, by `rows_of`."""
        import pandas as pd

        wanted, column = self.submission.format, self.submission.column or ""
        if wanted in {"label", "labels", "top_k"}:
            names = np.array([self.written(name) for name in self.handed_in], dtype=object)
            if wanted == "label":
                return pd.DataFrame({column: names[decisions]})
            rows = decisions.astype(bool) if wanted == "labels" else decisions
            return pd.DataFrame({column: [self.submission.separator.join(names[row]) for row in rows]})
        if self.submission.joined is not None:
            return pd.DataFrame({column: decisions.ravel()})
        if wanted in {"probabilities", "numbers"}:
            return pd.DataFrame(decisions, columns=list(self.classes or self.numbers))
        return pd.DataFrame({column: decisions[:, self.positive_index if wanted == "probability" else 0]})
