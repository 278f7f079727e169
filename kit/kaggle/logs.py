"""The log of a session: server-sent events while it runs, one JSON document once it has ended."""

import json
from collections.abc import Iterator
from typing import Any

import requests

END = "END_OF_LOG"


def lines_of(response: requests.Response) -> Iterator[str]:
    """Its whole lines, as they come; records are not lines. Ends with the log, or where the stream is cut."""
    held = ""
    for record in _records(response):
        held += record
        *lines, held = held.split("\n")
        yield from lines


def _records(response: requests.Response) -> Iterator[str]:
    """What was written; at the log's end a line break, which its last line may lack."""
    if "event-stream" not in response.headers.get("Content-Type", ""):
        yield from (str(record.get("data", "")) for record in _parsed(response.text))
        yield "\n"
        return
    try:
        for line in response.iter_lines(decode_unicode=True):
            data = line.removeprefix("data:").strip()
            if data == END:
                yield "\n"
                return
            if line.startswith("data:"):
                yield from (str(record.get("data", "")) for record in _parsed(data))
    except requests.RequestException:
        return


def _parsed(text: str) -> list[dict[str, Any]]:
    """A record, or a list of them; what is no JSON is left out."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
