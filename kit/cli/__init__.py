"""One thin command per verb: parse, call, print. torch is imported inside commands only, so that help is quick."""

import signal
import sys
import traceback
from typing import Any

from kit import console
from kit.allocator import keep_freed_memory
from kit.cli import pipeline, tools
from kit.cli.options import app, flags
from kit.errors import KitError, reason
from kit.processes import end_with_parent

__all__ = ["app", "main", "pipeline", "tools"]


DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM: our own exception, since Typer exits quietly on a KeyboardInterrupt."""


def _stop(*_: Any) -> None:
    for kind in (signal.SIGINT, signal.SIGTERM):  # it is stopping already
        signal.signal(kind, signal.SIG_IGN)
    raise _Stopped


def main() -> None:
    """The console script. Exit codes: 0 done, 1 the work failed, 2 the command or a config is wrong."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent()
    keep_freed_memory()
    try:
        app()
    except KitError as error:
        if flags["debug"]:
            traceback.print_exc()
        console.error(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if flags["debug"] or missing == "kit":
            raise
        package = DISTRIBUTIONS.get(missing, missing)
        console.error(f"this needs the package {package}, which is not installed: pip install {package}")
        sys.exit(1)
    except _Stopped:
        again = "without --force " if "--force" in sys.argv else ""
        console.error(f"stopped; everything up to the last checkpoint is kept, type the same command {again}to go on")
        sys.exit(130)
    except Exception as error:
        if flags["debug"]:
            raise
        console.error(f"{type(error).__name__}: {reason(error)} (a bug, or a broken machine: --debug shows where)")
        sys.exit(1)
