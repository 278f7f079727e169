"""The kinds of task, and the formats of a submission."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classes", "labels", "ordinal", "number"]
"""classes: one of several (softmax). labels: any of several (a sigmoid each), or the answers to several questions, one
of each (a softmax for each question). ordinal: one of several with an order (softmax; the mean class counts). number: a
real value, or several."""

Format = Literal["label", "labels", "top_k", "probability", "probabilities", "number", "numbers"]
"""label: a column of hard classes. labels: a column of several classes, delimited. top_k: the k likeliest, delimited.
probability: one column. probabilities: a column per class. number: a column of real values. numbers: several."""


@dataclass(frozen=True)
class Outputs:
    """What the `count` outputs of a model mean. `parts`: of labels that answer several questions, the number of answers
    to each, exactly one of which applies; empty where each label is for itself."""

    count: int
    task: Task = "classes"
    parts: tuple[int, ...] = ()
