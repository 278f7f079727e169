"""What in a competition's YAML contradicts itself: each case one line that names the key."""

from typing import Protocol

from kit.errors import examples
from kit.metrics import Metric
from kit.sections import Columns, Files, Labels, Pictures, Submission
from kit.tasks import Task


class Described(Protocol):
    """A competition."""

    @property
    def files(self) -> Files: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def submission(self) -> Submission: ...
    @property
    def task(self) -> Task: ...
    @property
    def pictures(self) -> Pictures | None: ...
    @property
    def columns(self) -> Columns | None: ...
    @property
    def scoring(self) -> Metric: ...


def require_consistent(of: Described) -> None:
    """Raises `ValueError`."""
    metric, wanted, classes = of.scoring, of.submission.format, of.labels.classes
    layout, submission = of.labels.layout, of.submission
    if of.labels.columns and of.task not in {"number", "labels"}:
        raise ValueError("labels.columns: need task number (several numbers an image) or labels (several questions)")
    questions = of.task == "labels" and bool(of.labels.columns)
    if questions:
        _require_questions(of.labels)
    if len(set(of.labels.columns)) < len(of.labels.columns):
        raise ValueError("labels.columns: a column appears twice")
    if layout in {"idx", "csv", "json"} and not of.files.train_labels:
        raise ValueError(f"files.train_labels: layout {layout} keeps the labels in a file of their own; name it")
    if of.task == "number" and classes:
        raise ValueError("labels.classes: a number has none")
    if of.task != "number" and len(classes) < (1 if of.task == "labels" else 2):
        least = "one" if of.task == "labels" else "two"
        raise ValueError(f"labels.classes: task {of.task} needs at least {least}")
    if of.task not in metric.tasks:
        raise ValueError(f"metric: {metric.name} scores task {' or '.join(metric.tasks)}, not {of.task}")
    if wanted not in metric.formats:
        raise ValueError(f"submission.format: {metric.name} needs {' or '.join(metric.formats)}, not '{wanted}'")
    if metric.two_classes and len(classes) != 2:
        raise ValueError(f"metric: {metric.name} is of the second of two classes, not of {len(classes)}")
    if wanted == "labels" and of.task != "labels":
        raise ValueError(f"submission.format: task {of.task} submits one class: use format label")
    if wanted == "label" and of.task == "labels" and not questions:
        raise ValueError("submission.format: task labels submits several classes: use format labels")
    if wanted == "probability":
        if len(classes) != (1 if of.task == "labels" else 2):
            raise ValueError(f"submission.format: one probability column fits two classes, not {len(classes)}")
        if submission.positive not in classes:
            raise ValueError(f"submission.positive: should be one of {examples(classes, 10)}")
    if wanted in {"number", "numbers"} and (wanted == "numbers") != bool(of.labels.columns):
        raise ValueError(f"submission.format: {wanted} does not fit labels.columns: {len(of.labels.columns)}")
    if of.labels.joined is not None and of.task != "labels" and not of.labels.columns:
        raise ValueError("labels.joined: several rows an image need task labels, or labels.columns")
    if submission.joined is not None and wanted not in {"probabilities", "numbers"} and not questions:
        raise ValueError(f"submission.joined: several rows an image need format probabilities or numbers, not {wanted}")
    by_column = wanted in {"probabilities", "numbers"} or questions
    if (not by_column or submission.joined is not None) and not submission.column:
        raise ValueError("submission.column: missing")
    if submission.values and set(submission.values) != set(classes):
        raise ValueError(f"submission.values: should name each class once: {examples(classes, 10)}")
    if strange := sorted(set(of.labels.rename.values()) - {*classes, *of.labels.columns}):
        raise ValueError(f"labels.rename: leads to {examples(strange)}, not among labels.classes or labels.columns")
    if submission.new_class is not None and wanted != "top_k":
        raise ValueError(f"submission.new_class: belongs to format top_k, not to {wanted}")
    tables, any_file = ("csv",), ("filename", "folders", "csv", "json")
    suits = {
        "group_column": any_file if of.files.train_groups else ("csv", "json"), "group_id_column": any_file,
        "wide": tables, "only": ("csv", "pixels-csv"), "pattern": ("filename",),
        "level": ("folders",), "first_id": ("idx", "pixels-csv"), "empty": tables, "group_pattern": any_file,
        "pixel_shape": ("csv", "pixels-csv"), "rename": any_file, "columns": tables, "joined": tables,
    }  # fmt: skip
    told = (of.files.train_groups, of.labels.group_id_column)
    if any(told) and not (all(told) and of.labels.group_column):
        raise ValueError("files.train_groups: needs labels.group_column, and labels.group_id_column for the pictures")
    if of.pictures is not None and layout in {"idx", "pixels-csv", "json"}:
        raise ValueError(f"pictures: layout {layout} has one picture a sample")
    if of.pictures is not None and of.pictures.columns and layout != "csv":
        raise ValueError("pictures.columns: only layout csv has columns")
    if of.pictures is not None and of.pictures.columns and of.files.test and not of.files.test_table:
        raise ValueError("files.test_table: pictures.columns need a table of the test images too")
    if of.columns is not None:
        if layout != "csv" or (of.files.test and not (of.files.test_table or of.files.test_labels)):
            raise ValueError("columns: need layout csv, and files.test_table for the test images")
        target = {*of.labels.columns, of.labels.column, of.labels.id_column}
        if taken := sorted({*of.columns.numbers, *of.columns.categories} & target):
            raise ValueError(f"columns: '{taken[0]}' is the target or the id")
    usual = type(of.labels)()
    for key, layouts in suits.items():
        if getattr(of.labels, key) != getattr(usual, key) and layout not in layouts:
            raise ValueError(f"labels.{key}: only layout {' or '.join(layouts)} has such, not {layout}")
    if (of.task == "number" and layout != "csv") or (of.task == "labels" and layout not in {"csv", "json"}):
        raise ValueError(f"task: {of.task} needs layout csv{' or json' if of.task == 'labels' else ''}")


def _require_questions(labels: Labels) -> None:
    """`classes` are called COLUMN=CELL, question by question, two or more of each."""
    column_of = [next((c for c in labels.columns if name.startswith(f"{c}=")), "") for name in labels.classes]
    if strange := [name for name, column in zip(labels.classes, column_of, strict=True) if not column]:
        raise ValueError(f"labels.classes: '{strange[0]}': with labels.columns, a class is called COLUMN=CELL")
    ordered = sorted(column_of, key=labels.columns.index)
    if column_of != ordered or list(dict.fromkeys(column_of)) != list(labels.columns):
        raise ValueError("labels.classes: expected those of each of labels.columns, in their order")
    if marked := [column for column in labels.columns if "=" in column]:
        raise ValueError(f"labels.columns: '{marked[0]}': '=' stands between a column and its class; rename the column")
    if few := [column for column, count in zip(labels.columns, labels.parts, strict=True) if count < 2]:
        raise ValueError(f"labels.classes: '{few[0]}' needs at least two")
    if labels.wide:
        raise ValueError("labels.wide: labels.columns hold a class each, not 0 and 1")
