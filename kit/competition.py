"""A competition, described: where its files are, how its labels are read, how it scores, what it expects back.

`Competition.load("dogs-vs-cats")` reads configs/competitions/dogs-vs-cats.yaml. Nothing else in the kit knows a
competition's name."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from kit import schema
from kit.consistent import require_consistent
from kit.errors import ConfigError
from kit.joined import joined, split_joined
from kit.metrics import Metric, find_metric, shown_metrics
from kit.metrics.own import is_own, own_metric
from kit.sections import Columns, Files, HiddenTest, Labels, Pictures, Submission
from kit.tasks import Outputs, Task

if TYPE_CHECKING:  # every command imports this file
    import pandas as pd

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAME_WORDS = "letters, digits, '.', '_' and '-', a letter or digit first"
MOST_LETTERS = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MOST_LETTERS)]


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
    pictures: Pictures | None = None  # null: a sample is one picture
    columns: Columns | None = None
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
            return own_metric(self.metric, self.metric_options, self.submission, self.answers, self.labels.parts)
        return find_metric(self.metric, self.metric_options, self.labels.classes, self.questions)

    @property
    def shown(self) -> list[Metric]:
        """The competition's metric, and those that are shown beside it."""
        return shown_metrics(self.outputs, self.scoring, self.questions)

    @property
    def questions(self) -> dict[str, int]:
        """Of several questions an image (task labels with `labels.columns`), how many classes each has; else empty."""
        return dict(zip(self.labels.columns, self.labels.parts, strict=False))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are to be predicted as they are; empty where the target is a class."""
        return () if self.task != "number" else self.labels.columns or (self.labels.column,)

    @property
    def outputs(self) -> Outputs:
        """Of the model: a logit per class, or the numbers."""
        return Outputs(len(self.classes) or len(self.numbers), self.task, self.labels.parts)

    @property
    def num_channels(self) -> int:
        """Of what the model sees."""
        if self.pictures is None or self.pictures.together == "mean":
            return 3
        return len(self.pictures.endings) * (1 if self.pictures.gray else 3)

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
        """What is handed in for a class."""
        usual = name.partition("=")[2] if self.questions else name
        return str(self.submission.values.get(name, usual))

    def images_of(self, rows: Sequence[str]) -> list[str]:
        """The images that the id cells of a submission are about, each once, in their order. Raises `ValueError`."""
        joint = self.submission.joined
        return list(rows) if joint is None else list(dict.fromkeys(split_joined(rows, joint, self.labels.asked)[0]))

    def rows_of(self, images: Sequence[str]) -> list[str]:
        """The id cells of a submission about these images, in the order of `answers`."""
        joint = self.submission.joined
        return list(images) if joint is None else joined(images, joint, self.labels.asked)

    def answers(self, decisions: np.ndarray) -> "pd.DataFrame":
        """What is handed in for `decisions` (`Metric.decide`): the submission's columns but the id, by `rows_of`."""
        import pandas as pd

        wanted, column = self.submission.format, self.submission.column or ""
        if self.questions and wanted == "label":
            decisions = self._words_of(decisions)
        if self.submission.joined is not None:
            return pd.DataFrame({column: decisions.ravel()})
        if self.questions and wanted == "label":
            return pd.DataFrame(decisions, columns=list(self.questions))
        if wanted in {"label", "labels", "top_k"}:
            names = np.array([self.written(name) for name in self.handed_in], dtype=object)
            if wanted == "label":
                return pd.DataFrame({column: names[decisions]})
            rows = decisions.astype(bool) if wanted == "labels" else decisions
            return pd.DataFrame({column: [self.submission.separator.join(names[row]) for row in rows]})
        if wanted in {"probabilities", "numbers"}:
            return pd.DataFrame(decisions, columns=list(self.classes or self.numbers))
        return pd.DataFrame({column: decisions[:, self.positive_index if wanted == "probability" else 0]})

    def _words_of(self, decisions: np.ndarray) -> np.ndarray:
        """int (N, questions), an answer's place among its question's -> what is handed in for it."""
        first = np.cumsum([0, *self.labels.parts[:-1]])
        return np.array([self.written(name) for name in self.classes], dtype=object)[decisions + first]
