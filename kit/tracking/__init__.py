"""Who is told about a training's epochs. Adding a listener is a file beside this one and a line in `LISTENERS`.

A listener is told after each epoch, and once more of the last one when a killed training resumes (`again`); one that
raises is left out from then on. Its own files go beside the metrics file: `path.with_name(...)`."""

from collections.abc import Callable
from pathlib import Path

from kit.events import Listener
from kit.tracking import metrics_file, progress

LISTENERS: list[Callable[[Path], Listener]] = [metrics_file.listener, progress.listener]
"""Each makes a listener, given the path of the fold's metrics file."""
