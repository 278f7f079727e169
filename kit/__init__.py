"""A Kaggle competition submission kit for image classification.

>>> from kit import Experiment, Run, run_pipeline
>>> result = run_pipeline("configs/demo.yaml", "workspace", source="digits")

These names are imported when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kit.about import VERSION

if TYPE_CHECKING:
    from kit.competition import Competition
    from kit.config import Experiment
    from kit.pipeline import run_pipeline
    from kit.run.run import Run
    from kit.workspace import Workspace

__version__ = VERSION
__all__ = ["Competition", "Experiment", "Run", "Workspace", "run_pipeline"]
_HOMES = dict(zip(__all__, ("competition", "config", "run.run", "workspace", "pipeline"), strict=True))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kit' has no attribute '{name}'")
    return getattr(import_module(f"kit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
