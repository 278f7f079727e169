"""A competition as far as it is understood, and the questions that its files leave open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kit.data.label_files import split_cell
from kit.describe.joined import RowsPerClass
from kit.errors import ConfigError
from kit.metrics import Metric
from kit.tasks import Task

Ask = Callable[[str, Sequence[tuple[str, str]]], str]
"""(question, [(value, meaning), ...]) -> a value"""


@dataclass
class Case:
    """`raw` is the YAML's mapping, `reasons` say why. `metrics`: what the competition's metric may be, empty where it
    is not known; `given`: answers by the YAML's keys, `ask`: who else may be asked.

    Then what is found: `sample`, the sample submission, with its `sample_id` column and its `answers`; `ids`, the rows
    to be handed in; `table`, the labels as text, its files named by `id_column`; `test_table`; `classes` (from folders,
    names, idx files, tables of pixels or COCO); `numbers`, class -> the number that stands for it (COCO)."""

    metrics: list[Metric]
    given: Mapping[str, str] = field(default_factory=dict)
    ask: Ask | None = None
    raw: dict[str, Any] = field(default_factory=lambda: {"files": {}, "labels": {}})
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sample: pd.DataFrame | None = None
    sample_id: str = "id"
    answers: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    table: pd.DataFrame | None = None
    id_column: str = ""
    folders_in: str | None = None  # the column of `table` that the training pictures' folders repeat
    test_table: pd.DataFrame | None = None
    test_role: str | None = None  # its file
    classes: list[str] | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    rows: RowsPerClass | None = None  # the sample has a row per image and class; `sample` a column per class
    used: set[str] = field(default_factory=set)  # roles
    chosen: dict[str, str] = field(default_factory=dict)  # what was answered, by key

    def because(self, reason: str) -> None:
        self.reasons.append(reason)

    def choose(self, key: str, question: str, options: Sequence[tuple[str, str]]) -> str:
        """The answer to `question` that becomes `key` of the YAML: given, the only one, or asked for. Two readings are
        never decided silently: `ConfigError` where nobody can be asked."""
        self.chosen[key] = self._answer(key, question, options)
        return self.chosen[key]

    def _answer(self, key: str, question: str, options: Sequence[tuple[str, str]]) -> str:
        values = [value for value, _ in options]
        if key in self.given:
            if self.given[key] not in values:
                raise ConfigError(f"--set {key}={self.given[key]}: expected {' or '.join(values)}")
            return self.given[key]
        if len(options) == 1:
            return values[0]
        if self.ask is not None:
            return self.ask(question, options)
        meanings = "; ".join(f"{'--metric ' if key == 'metric' else f'--set {key}='}{v} ({why})" for v, why in options)
        raise ConfigError(f"{question} Say which: {meanings}")

    @property
    def asked(self) -> pd.DataFrame | None:
        """The sample submission as its file has it."""
        return self.sample if self.rows is None or self.sample is None else self.rows.long(self.sample)

    @property
    def cells(self) -> pd.Series:
        """The sample's answers, where they are one column."""
        if self.sample is None or len(self.answers) != 1:
            return pd.Series([], dtype=str)
        return self.sample[self.answers[0]].str.strip()

    @property
    def values(self) -> set[str]:
        """What the sample answers with: its cells and their words, or its columns."""
        if len(self.answers) > 1:
            return set(self.answers)
        head = self.cells.head(1000)
        words = (split_cell(cell, ",") if cell[:1] == "[" else (cell, *cell.split()) for cell in head)
        return {word for found in words for word in found} - {""}

    def fits(self, task: Task) -> bool:
        return not self.metrics or any(task in metric.tasks for metric in self.metrics)


def number_first(text: str) -> tuple[int, float, str]:
    """2 before 10, numbers before words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
