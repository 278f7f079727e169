"""What the tests share: a small competition of real images (digits), real photos where $KIT_DATA has them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import Experiment
from kit.tools.demo import write_archives
from kit.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parent.parent
TINY = (
    "name=tiny", "data.image_size=16", "data.cache_size=16", "data.num_folds=2", "model.options.width=0.125",
    "train.epochs=2", "train.warmup_epochs=0.5", "train.precision=fp32", "train.memory_format=contiguous",
    "train.num_threads=1", "tta.views=[identity]",
)  # fmt: skip


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.zip, test1.zip, sampleSubmission.csv and solution.csv of the first 250 digits."""
    return write_archives(tmp_path_factory.mktemp("digits"), limit=250)


@pytest.fixture
def tiny() -> Callable[..., Experiment]:
    """The demo's experiment made small: two folds, two epochs, seconds; keywords are more `key=value`."""
    return lambda *overrides: Experiment.load("configs/demo.yaml", [*TINY, *overrides])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos that $KIT_DATA names."""
    folder = os.environ.get("KIT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real photos: set KIT_DATA to the folder that holds dogs-vs-cats-photos and bad-images")
    return Path(folder)
