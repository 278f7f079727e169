"""A metric of one class, for several questions an image: the weighted mean of each question's score.

Decisions are int64 (N, questions), an answer's place among its question's. Each question has what is fitted for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kit.metrics.metric import Fixed, Metric, Params, weights_of

MARK = ": "  # between a question and what is fitted for it


def answers_of(values: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """int64 (N, questions): the likeliest, or given, answer to each question; `values` float (N, sum of `counts`)."""
    return np.stack([part.argmax(axis=1) for part in np.split(values, np.cumsum(counts)[:-1], axis=1)], axis=1)


def of_questions(metric: Metric, questions: Mapping[str, int], options: Mapping[str, Any]) -> Metric:
    """`questions`: how many classes each has, in the order of the labels' columns; `options`: their `weights`. Raises
    `ValueError` for weights of others, and for a metric that scores no hard class."""
    if ("classes" not in metric.tasks and "ordinal" not in metric.tasks) or "label" not in metric.formats:
        raise ValueError(f"metric: {metric.name} scores no class of each of several questions (labels.columns)")
    shares, counts = weights_of(options, list(questions), "question"), list(questions.values())
    ends = np.cumsum(counts)
    columns = {name: slice(end - count, end) for (name, count), end in zip(questions.items(), ends, strict=True)}

    def scores(one: Callable[[np.ndarray, np.ndarray], Any]) -> Callable[[np.ndarray, np.ndarray], Any]:
        def of_all(targets: np.ndarray, decisions: np.ndarray) -> Any:
            pairs = zip(answers_of(targets, counts).T, decisions.T, strict=True)
            return np.average([one(*pair) for pair in pairs], axis=0, weights=shares)

        return of_all

    def decide(predictions: np.ndarray, _labels: bool, params: Fixed) -> np.ndarray:
        parts = [metric.decide(predictions[:, part], False, _own(params, name)) for name, part in columns.items()]
        return np.stack(parts, axis=1)

    def fit(targets: np.ndarray, predictions: np.ndarray, plain: Fixed) -> Params:
        assert metric.fit is not None
        found: Params = {}
        for name, part in columns.items():
            fitted = metric.fit(targets[:, part].argmax(axis=1), predictions[:, part], plain)
            found |= {f"{name}{MARK}{key}": value for key, value in fitted.items()}
        return found

    def moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
        result = {key: value for key, value in params.items() if MARK not in key}
        for name, part in columns.items():
            own = metric.moved(_own(params, name), models[..., part], mean[:, part])
            result |= {f"{name}{MARK}{key}": value for key, value in own.items()}
        return result

    measure = scores(metric.measure)
    return replace(
        metric, tasks=("labels",), formats=("label",), decide_with=decide, moved=moved,
        measure=lambda targets, decisions: float(measure(targets, decisions)),
        per_image=None if metric.per_image is None else scores(metric.per_image),
        fit=None if metric.fit is None else fit,
    )  # fmt: skip


def _own(params: Fixed, name: str) -> Params:
    """What is fitted for one question."""
    start = f"{name}{MARK}"
    return {key.removeprefix(start): value for key, value in params.items() if key.startswith(start)}
