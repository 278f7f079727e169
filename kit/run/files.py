"""The names of a run's files. No other module spells them out."""

from pathlib import Path

from kit.workspace import Fold


class FoldFiles:
    """The files of one fold: runs/<name>/fold_<k>/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / ".lock"
        self.started = folder / ".started.json"  # what a begun training is made of, and how it computes
        self.failed = folder / ".failed.txt"  # why a process that shares the fold with others gave up
        self.checkpoint = folder / "last.ckpt"
        self.metrics = folder / "metrics.jsonl"  # a line per epoch
        self.heads = folder / "heads.jsonl"  # the penalty of a head on frozen features, and its loss
        self.model = folder / "model.safetensors"
        self.trained = folder / ".train.json"  # the model's stamp
        self.oof = folder / "oof.csv"
        self.test = folder / "test.csv"
        self.predicted = folder / ".predict.json"  # the predictions' stamp

    def clear(self) -> None:
        """Remove what training and prediction left, before they are done again."""
        tables = (self.oof, self.test)
        made = (self.trained, self.model, self.checkpoint, self.started, self.metrics, self.heads)
        for path in (*made, self.predicted, *tables, *(one.with_suffix(".npz") for one in tables)):
            path.unlink(missing_ok=True)


class RunFiles:
    """The files of one run, or of a blend: runs/<name>/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / ".lock"
        self.experiment = folder / "experiment.yaml"
        self.environment = folder / "environment.json"
        self.folds = folder / "folds.csv"  # the run's own copy
        self.oof = folder / "oof.csv"
        self.test = folder / "test.csv"  # predictions as they are averaged, before they are calibrated
        self.cv = folder / "cv.json"
        self.suspects = folder / "suspects.csv"
        self.report = folder / "report.html"
        self.figures = folder / "figures"

    def figure(self, name: str) -> Path:
        return self.figures / f"{name}.png"

    def images(self, folder: str) -> Path:
        return self.folder / f"images-{folder}.csv"

    def fold(self, number: Fold) -> FoldFiles:
        return FoldFiles(self.folder / f"fold_{number}")

    def fold_folders(self) -> list[FoldFiles]:
        return [FoldFiles(folder) for folder in sorted(self.folder.glob("fold_*"))]


def run_names(runs: Path) -> list[str]:
    """The runs in a workspace's folder of runs."""
    return sorted(path.parent.name for path in runs.glob("*/experiment.yaml"))
