"""The names of a run's files. No other room spells them.

runs/<name>/      experiment.yaml  environment.json  folds.csv  oof.csv  cv.json  suspects.csv  figures/  report.html
  fold_0/         last.ckpt (while it trains)  model.safetensors  metrics.jsonl  heads.jsonl  oof.csv  test.csv
                  .started.json  .train.json  .predict.json (what each is made of)
"""

from dataclasses import dataclass
from pathlib import Path

from kit.workspace import Fold


@dataclass(frozen=True)
class FoldFiles:
    """The files of one fold."""

    folder: Path

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def started(self) -> Path:
        """What a training that has begun is made of, and how it computes."""
        return self.folder / ".started.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def metrics(self) -> Path:
        """A line an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def heads(self) -> Path:
        """The penalty of a head on frozen features, and its loss."""
        return self.folder / "heads.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def trained(self) -> Path:
        """The model's stamp."""
        return self.folder / ".train.json"

    @property
    def oof(self) -> Path:
        return self.folder / "oof.csv"

    @property
    def test(self) -> Path:
        return self.folder / "test.csv"

    @property
    def predicted(self) -> Path:
        """The predictions' stamp."""
        return self.folder / ".predict.json"

    def clear(self) -> None:
        """Remove what a training and a prediction left: it is all made anew."""
        for path in (
            self.trained, self.model, self.checkpoint, self.started, self.predicted, self.oof, self.test,
        ):  # fmt: skip
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, or of a blend."""

    folder: Path

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def experiment(self) -> Path:
        return self.folder / "experiment.yaml"

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def folds(self) -> Path:
        """The run's own copy of the folds."""
        return self.folder / "folds.csv"

    @property
    def oof(self) -> Path:
        return self.folder / "oof.csv"

    @property
    def cv(self) -> Path:
        return self.folder / "cv.json"

    @property
    def suspects(self) -> Path:
        return self.folder / "suspects.csv"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def figure(self, name: str) -> Path:
        return self.figures / f"{name}.png"

    def images(self, folder: str) -> Path:
        """The predictions of some folder of pictures."""
        return self.folder / f"images-{folder}.csv"

    def fold(self, number: Fold) -> FoldFiles:
        return FoldFiles(self.folder / f"fold_{number}")

    def begun(self) -> list[FoldFiles]:
        """Of every fold that has a folder."""
        return [FoldFiles(folder) for folder in sorted(self.folder.glob("fold_*"))]


def run_names(runs: Path) -> list[str]:
    """The runs in a workspace's folder of runs."""
    return sorted(path.parent.name for path in runs.glob("*/experiment.yaml"))
