"""What goes wrong, in one line. Every error that a user can cause is a `KitError`; anything else is a bug."""

import difflib
from collections.abc import Iterable


class KitError(Exception):
    """The work failed. The message names the file, the value, what was expected, and what to do next."""

    exit_code = 1


class ConfigError(KitError):
    """The command or a config is wrong: nothing was started."""

    exit_code = 2


LISTED = 40  # words: timm has a thousand networks, a table of pixels as many columns


def nearest(word: str, words: Iterable[str]) -> str:
    """` (did you mean 'train.epochs'?)` for a mistyped word, else what is available, or the first of it."""
    words = list(words)
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if matches:
        return f" (did you mean '{matches[0]}'?)"
    return f" (available: {examples(words, LISTED)})" if words else ""


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def examples(items: Iterable[object], most: int = 3) -> str:
    """The first few of a list, for a message: `a, b, c and 4 more`."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
