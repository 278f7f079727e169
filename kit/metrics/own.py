"""A metric of one's own: `metric: FILE.py:FUNCTION`, the file beside the competition's YAML. It is executed.

The function has the signature of Kaggle's metric notebooks, `score(solution, submission, row_id_column_name) -> float`:
two tables with the id and the submission's columns, as they are handed in."""

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np

from kit.errors import reason
from kit.metrics.metric import Metric, as_predicted, likeliest
from kit.metrics.questions import answers_of
from kit.tasks import Format, Task

if TYPE_CHECKING:
    import pandas as pd

_PATTERN = re.compile(r"(.+\.py):([A-Za-z_]\w*)")
Answers = Callable[[np.ndarray], "pd.DataFrame"]


class HandsIn(Protocol):
    """The submission's format and id column."""

    @property
    def format(self) -> Format: ...
    @property
    def id_column(self) -> str: ...


def is_own(metric: object) -> bool:
    return isinstance(metric, str) and _PATTERN.fullmatch(metric) is not None


def own_metric(
    metric: str, options: Mapping[str, Any], submission: HandsIn, answers: Answers, parts: Sequence[int] = ()
) -> Metric:
    """`answers`: decisions -> the submission's columns. `parts`: of several questions, how many classes each has.
    `options`: `higher_is_better` (required), `k` (format top_k).
    Raises `ValueError` where the file or the function is missing, or does not load."""
    strange = sorted(set(options) - {"higher_is_better", "k"})
    if strange or not isinstance(options.get("higher_is_better"), bool):
        wrong = f"metric_options.{strange[0]}: unknown" if strange else "metric_options.higher_is_better: missing"
        raise ValueError(f"{wrong}; a metric of your own has higher_is_better (true or false), and k for format top_k")
    wanted, column, k = submission.format, submission.id_column, int(options.get("k", 1))
    file, _, function = metric.rpartition(":")
    score = _load(file, function, _changed(file))

    def measure(targets: np.ndarray, decisions: np.ndarray) -> float:
        truth, given = answers(_as_decided(targets, decisions, wanted, parts)), answers(decisions)
        for table in (truth, given):
            table.insert(0, column, np.arange(len(table)))
        return float(score(truth, given, column))

    def decide(predictions: np.ndarray, labels: bool, params: Mapping[str, Any]) -> np.ndarray:
        if wanted == "label" and parts:
            return answers_of(predictions, parts)
        if wanted == "label":
            return likeliest(predictions, labels, params)
        if wanted == "labels":
            return predictions >= 0.5
        return np.argsort(-predictions, axis=1, kind="stable")[:, :k] if wanted == "top_k" else as_predicted(
            predictions, labels, params
        )  # fmt: skip

    name = f"{Path(file).name}:{function}"
    return Metric(name, options["higher_is_better"], get_args(Task), (wanted,), measure, decide, k=k)


def _as_decided(targets: np.ndarray, decisions: np.ndarray, wanted: Format, parts: Sequence[int]) -> np.ndarray:
    """The truth as if it had been predicted."""
    if wanted == "label" and parts:
        return answers_of(targets, parts)
    if targets.ndim == 2 or wanted == "label":
        return targets
    if wanted == "top_k":
        return targets[:, None]
    return np.eye(decisions.shape[1])[targets]


def _changed(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        raise ValueError(f"metric: {file}: no such file; it lies beside the competition's YAML") from None


@lru_cache(maxsize=4)
def _load(file: str, function: str, _changed: int) -> Callable[..., float]:
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"metric: {file}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever someone's file raises
        raise ValueError(f"metric: {file}: {type(error).__name__}: {reason(error)}") from None
    if not callable(getattr(module, function, None)):
        raise ValueError(f"metric: {file}: has no function {function}")
    return getattr(module, function)
