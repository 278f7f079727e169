"""A competition, described: where its files are, how its labels are read, how it scores, what it wants back.

`Competition.load("dogs-vs-cats")` reads configs/competitions/dogs-vs-cats.yaml. Nothing else in the kit knows a
competition's name.
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from kit import schema
from kit.errors import ConfigError, nearest
from kit.tasks import METRICS, Format

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


ROLES = ("train", "test", "sample_submission", "train_labels", "test_labels")


@dataclass(frozen=True, config=schema.STRICT)
class Files:
    """Accepted spellings, in order of preference: `train.zip` also stands for a folder `train`."""

    train: Annotated[tuple[str, ...], Field(min_length=1)]
    test: Annotated[tuple[str, ...], Field(min_length=1)]
    sample_submission: tuple[str, ...] = ()  # none: a row per test image, in their order
    train_labels: tuple[str, ...] = ()  # layout idx
    test_labels: tuple[str, ...] = ()  # of a benchmark that gives them away; they only ever score

    def roles(self) -> dict[str, tuple[str, ...]]:
        """Role -> accepted spellings, of the roles that this competition has."""
        return {role: names for role in ROLES if (names := getattr(self, role))}


@dataclass(frozen=True, config=schema.STRICT)
class Labels:
    """Where a training image's class stands."""

    classes: Annotated[tuple[str, ...], Field(min_length=2)]  # the order of the model's outputs
    # filename: class.id.ext. folders: a folder per class. idx: MNIST's format, pictures in one file and labels in
    # another. pixels-csv: a row per picture, its class in `column`, its pixels in pixel0, pixel1, ...
    layout: Literal["filename", "folders", "idx", "pixels-csv"] = "filename"
    column: str = "label"
    first_id: int = 0  # layouts idx and pixels-csv: the first picture's id

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a class stands twice")


@dataclass(frozen=True, config=schema.STRICT)
class Submission:
    """What the competition wants back; columns as in its sample file."""

    format: Format
    id_column: str = "id"
    column: str | None = "label"  # formats label and probability
    positive: str | None = None  # format probability: whose probability
    values: dict[str, int | str] = field(default_factory=dict)  # format label: class -> what is written


@dataclass(frozen=True, config=schema.STRICT)
class Competition:
    """One competition. `name` is its folder under data/, `slug` its address on Kaggle (none: it is not there)."""

    name: Name
    title: str
    files: Files
    labels: Labels
    metric: str
    submission: Submission
    slug: Name | None = None

    def __post_init__(self) -> None:
        if self.labels.layout == "idx" and not self.files.train_labels:
            raise ValueError("files.train_labels: layout idx keeps the labels in a file of their own; which?")
        if self.metric not in METRICS:
            raise ValueError(f"metric: no metric '{self.metric}'{nearest(self.metric, METRICS)}")
        metric, wanted, classes = METRICS[self.metric], self.submission.format, self.labels.classes
        if wanted not in metric.formats:
            raise ValueError(
                f"submission.format: {self.metric} is computed from {' or '.join(metric.formats)}, not from '{wanted}'"
            )
        if wanted == "probability":
            if len(classes) != 2:
                raise ValueError(
                    f"submission.format: one probability column fits two classes, there are {len(classes)}"
                )
            if self.submission.positive not in classes:
                raise ValueError(f"submission.positive: should be one of {', '.join(classes)}")
        if wanted in {"label", "probability"} and not self.submission.column:
            raise ValueError("submission.column: missing")
        if self.submission.values and set(self.submission.values) != set(classes):
            raise ValueError(f"submission.values: should name each class once: {', '.join(classes)}")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a competition's YAML: a path, or a name under configs/competitions/."""
        file = schema.find_config(path, "competitions")
        competition = schema.build(cls, schema.read_mapping(file), str(file))
        if competition.name != file.stem:
            raise ConfigError(f"{file}: name: '{competition.name}' should be the file's own name, '{file.stem}'")
        return competition

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    @property
    def positive_index(self) -> int:
        """The class whose probability a one-column submission holds."""
        return self.classes.index(self.submission.positive or self.classes[-1])
