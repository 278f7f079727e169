"""A run's network as an object."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kit.competition import Competition
from kit.config import Experiment
from kit.data.columns import vocabulary
from kit.errors import ConfigError

if TYPE_CHECKING:  # most verbs need no torch
    from kit.models import Classifier
    from kit.models.columns import ColumnShape


def column_shape(
    experiment: Experiment, competition: Competition, index: Callable[[], pd.DataFrame]
) -> "ColumnShape | None":
    """Of the columns that the network sees beside the picture; `None` where it sees the picture alone."""
    from kit.models.columns import ColumnShape

    columns = competition.columns
    if not experiment.data.columns:
        return None
    if columns is None:
        raise ConfigError(f"data.columns: {experiment.competition}: names no `columns`")
    return ColumnShape(len(columns.numbers), tuple(map(len, vocabulary(index(), competition))))


def loaded_model(
    file: Path, experiment: Experiment, competition: Competition, columns: "ColumnShape | None"
) -> "Classifier":
    """The model that a training left in `file`."""
    from kit.models import build_classifier
    from kit.training.checkpoint import load_model

    random, size = replace(experiment.model, weights="none"), experiment.data.image_size
    channels = competition.num_channels
    built = build_classifier(random, competition.outputs, size, channels=channels, columns=columns)
    built.load_state_dict(load_model(file)[0])
    return built
