"""What each metric and each submission format needs. The numbers themselves are computed in `scoring.metrics`."""

from dataclasses import dataclass
from typing import Literal

Format = Literal["label", "probability", "probabilities"]
"""label: one column of hard labels; probability: one column, P(positive class); probabilities: a column per class."""


@dataclass(frozen=True)
class Metric:
    """A competition's measure: its direction, and which submission formats it can be computed from."""

    name: str
    higher_is_better: bool
    formats: tuple[Format, ...]


METRICS = {
    "accuracy": Metric("accuracy", True, ("label",)),
    "log_loss": Metric("log_loss", False, ("probability", "probabilities")),
    "roc_auc": Metric("roc_auc", True, ("probability", "probabilities")),
}
