"""A small experiment from `kit init` to the submission, in seconds."""

from pathlib import Path

from kit.competition import Competition
from kit.config import Experiment
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.tools import init
from kit.workspace import Workspace

QUICK = (
    "data.image_size=16", "data.cache_size=16", "data.num_folds=2", "model.name=resnet18",
    "model.options={width: 0.125}",
    "train.epochs=16", "train.learning_rate=0.01", "train.batch_size=10", "train.warmup_epochs=0", "augment=[]",
    "machine.precision=fp32", "machine.memory_format=contiguous", "machine.num_threads=1", "tta.views=[identity]",
    "machine.predict_precision=fp32", "machine.predict_memory_format=contiguous", "machine.predict_compile=false",
)  # fmt: skip


def describe(folder: Path, metric: str | None, *answers: str) -> Competition:
    """`kit init` on a folder of downloads; the YAMLs lie beside it."""
    init.init(Workspace(folder.parent), folder, name="c", metric=metric, force=True, overrides=answers)
    return Competition.load(folder.parent / "configs" / "competitions" / "c.yaml")


def go(folder: Path, *overrides: str) -> Run:
    """The whole way, with what `describe` wrote."""
    experiment = Experiment.load(folder.parent / "configs" / "c.yaml", [*QUICK, *overrides])
    run_pipeline(experiment, Workspace(folder.parent), folder)
    return Run.open(experiment, Workspace(folder.parent))
