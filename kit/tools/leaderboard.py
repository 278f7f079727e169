"""leaderboard: the teams' scores, from Kaggle or a CSV -> data/<competition>/leaderboard.csv; where the medals are."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kit import console
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError, counted, examples
from kit.kaggle.client import KaggleClient
from kit.run.run import Run
from kit.scoring.medals import medal_places
from kit.workspace import atomic_path

COLUMNS = ("score", "publicscore", "privatescore")  # whatever the case


@dataclass(frozen=True)
class LeaderboardResult:
    path: Path
    teams: int
    medals: dict[str, float]  # medal -> the score of its last rank


def leaderboard(run: Run, source: Path | None = None) -> LeaderboardResult:
    """Keep the scores for `kit ensemble`'s expected rank; `source`: a CSV with a column of them, instead of Kaggle."""
    competition = run.competition
    if source is not None:
        scores = _scores_of(source)
    elif competition.slug is not None:
        rows = KaggleClient.connect().leaderboard(competition.slug)
        scores = pd.Series([score for _, score in rows], dtype=float)
    else:
        raise ConfigError(f"{competition.title} is not on Kaggle: give its scores with --from FILE.csv")
    if scores.empty:
        raise KitError(f"{source or competition.slug}: no scores on this leaderboard")
    scores = scores.sort_values(ascending=not competition.scoring.higher_is_better, ignore_index=True)
    path = run.workspace.leaderboard(competition.name)
    with atomic_path(path) as temporary:
        pd.DataFrame({"rank": range(1, len(scores) + 1), "score": scores}).to_csv(temporary, index=False)
    medals = {medal: float(scores[place - 1]) for medal, place in medal_places(len(scores)).items() if place}
    lines = [[medal, medal_places(len(scores))[medal], f"{score:.5f}"] for medal, score in medals.items()]
    title = f"{competition.title}: {counted(len(scores), 'team')}, best {scores[0]:.5f}"
    console.table(title, ["medal", "to rank", competition.scoring.name], lines)
    console.stage("leaderboard", f"{path}; `kit ensemble` shows the rank to expect")
    return LeaderboardResult(path, len(scores), medals)


def _scores_of(file: Path) -> pd.Series:
    if not file.is_file():
        raise ConfigError(f"--from {file}: no such file")
    table = read_text_csv(file, str(file))
    named = [column for column in table if str(column).lower().replace("_", "").replace(" ", "") in COLUMNS]
    if not named:
        raise KitError(f"{file}: has no column 'score' (found {examples(table.columns, 8)})")
    cells = table[str(named[0])]
    scores = pd.to_numeric(cells, errors="coerce")
    if scores.isna().any():
        wrong = cells[scores.isna()].iloc[0]
        raise KitError(f"{file}: column '{named[0]}' holds '{wrong}', which is not a number")
    return scores
