"""For every stage that looks at pictures: index, folds and pixels of an experiment, with its corrections replayed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.config import Experiment
from kit.data.cache import experiment_pixels
from kit.data.corrections import apply_corrections
from kit.data.folds import read_folds
from kit.data.table import read_index, targets
from kit.workspace import Workspace


@dataclass(frozen=True)
class Opened:
    """`folds` int64 (N,), -1 for test, unreadable and dropped images; `pixels` uint8 (N, S, S, 3); `targets` as in
    `data.table`."""

    competition: Competition
    index: pd.DataFrame
    folds: np.ndarray
    pixels: np.ndarray
    targets: np.ndarray


def open_data(experiment: Experiment, workspace: Workspace, folds_file: Path | None = None) -> Opened:
    """`folds_file`: a run's own copy; else the competition's, as `kit split` made it."""
    competition = Competition.load(experiment.competition)
    index = read_index(workspace.index(competition.name))
    path = folds_file or workspace.folds(competition.name, experiment.data.num_folds, experiment.split_seed)
    folds = read_folds(path, index, experiment.data.num_folds)
    pixels = experiment_pixels(workspace, competition, experiment, index)
    if experiment.data.corrections is not None:
        file = Path(experiment.data.corrections).expanduser()
        index, folds = apply_corrections(file, index, folds, competition)
    return Opened(competition, index, folds, pixels, targets(index, competition))
