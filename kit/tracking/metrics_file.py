"""A fold's history on disk: JSON, one line per epoch."""

import json
from pathlib import Path

from kit.errors import KitError
from kit.events import Epoch, Line, Listener
from kit.workspace import write_text


def listener(path: Path) -> Listener:
    """Writes every epoch so far to `path`."""

    def write(epoch: Epoch) -> None:
        try:
            write_history(path, epoch.history)
        except OSError as error:
            raise KitError(f"{path}: cannot be written: {error.strerror}") from None

    return write


def write_history(path: Path, history: list[Line]) -> None:
    write_text(path, "".join(json.dumps(line) + "\n" for line in history))


def read_history(path: Path) -> list[Line]:
    """The lines of a fold's metrics file; empty where it has not begun."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
