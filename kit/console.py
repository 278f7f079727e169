"""The one place that knows Rich: what the kit says while it works."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TypeVar

from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from rich.table import Table

T = TypeVar("T")
_ADVICE = re.compile(
    r"`kit (download|index|explore|split|train|predict|ensemble|run|submit|audit)\b(?![^`]* -c )[^`]*`"
)
QUIET_SECONDS = 60  # after which work without a bar says how far it is
_console = Console(highlight=False, soft_wrap=True)


_options = ""  # of the command that runs: advice is typed with them


def remember_options(words: str) -> None:
    global _options
    _options = words


def _typed(text: str) -> str:
    """Advice as it is to be typed: `kit train` with the config that this command was given."""
    return _ADVICE.sub(lambda found: f"{found[0][:-1]} {_options}`", text) if _options else text


def use_stderr() -> None:
    """Leave standard output to a result that a script reads (`--json`)."""
    global _console
    _console = Console(stderr=True, highlight=False, soft_wrap=True)


def mute() -> None:
    """Say nothing from now on, except errors: another process says it."""
    global _console
    _console = Console(quiet=True)


def say(text: str = "") -> None:
    _console.print(escape(text))


def stage(name: str, text: str) -> None:
    _console.print(f"[bold cyan]{name:>9}[/] {escape(text)}")


def warn(text: str) -> None:
    _console.print(f"[bold yellow]warning:[/] {escape(_typed(text))}")


def error(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(_typed(text))}")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; the first column is left-aligned, the others right-aligned."""
    view = Table(title=title, title_justify="left", title_style="bold", header_style="cyan")
    for number, column in enumerate(columns):
        view.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        view.add_row(*(escape(str(cell)) for cell in row))
    _console.print(view)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def speed(images_per_second: float) -> str:
    """`215 images/s`, `0.4 images/s`"""
    return f"{images_per_second:,.{0 if images_per_second >= 10 else 1}f} images/s"


class Bar:
    """A progress bar; where none can be shown (a log, a notebook without widgets), a line every minute."""

    def __init__(self, progress: bars.Progress, title: str, total: float) -> None:
        self._progress, self._title, self._total, self._done = progress, title, total, 0.0
        self._task = progress.add_task("", total=total, note="")
        self._began = self._said = time.monotonic()

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        self._progress.advance(self._task, amount)
        self._done += amount
        if note is not None:
            self._progress.update(self._task, note=note)
        now = time.monotonic()
        if self._progress.disable and now - self._said >= QUIET_SECONDS:
            self._said = now
            share = f"{self._done / max(self._total, 1):.0%} after {duration(now - self._began)}"
            say(f"          {self._title}: {share}{'  ' + note if note else ''}")


def _shows_bars() -> bool:
    """In a terminal, and in a notebook that has Rich's widgets."""
    return _console.is_terminal or (_console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def progress(title: str, total: float, start: float = 0, unit: str = "items") -> Iterator[Bar]:
    """A bar while the work runs, removed afterwards. `unit="bytes"` shows sizes and speed."""
    amounts = [bars.DownloadColumn(), bars.TransferSpeedColumn()] if unit == "bytes" else [bars.MofNCompleteColumn()]
    columns = [bars.TextColumn(f"[cyan]{escape(title)}"), bars.BarColumn(), bars.TaskProgressColumn(), *amounts]
    columns += [bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[note]}")]
    with bars.Progress(*columns, console=_console, transient=True, disable=not _shows_bars()) as view:
        bar = Bar(view, title, total)
        bar.advance(start)
        yield bar


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    with progress(title, total) as bar:
        for item in items:
            yield item
            bar.advance()
