"""A large file over a bad connection: resumable, checked, and never under its final name before it is whole."""

import base64
import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests

from kit import console
from kit.errors import KitError
from kit.workspace import write_json

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
_CHUNK = 1 << 14  # an interruption loses the unfinished chunk, so it is small


@dataclass(frozen=True)
class Transfer:
    """How patient to be. `failures`: give up after so many in a row without a new byte."""

    connect_seconds: float = 10.0
    silence_seconds: float = 30.0
    failures: int = 3
    backoff_seconds: float = 1.0  # doubles with each failure
    longest_wait_seconds: float = 60.0

    def wait_seconds(self, failure: int, response: requests.Response | None = None) -> float:
        """The server's Retry-After where it has one, else exponential back-off."""
        wait = self.backoff_seconds * 2 ** (failure - 1)
        header = response.headers.get("Retry-After", "") if response is not None else ""
        if header.isdigit():
            wait = float(header)
        elif header:
            with contextlib.suppress(ValueError):
                wait = parsedate_to_datetime(header).timestamp() - time.time()
        return min(max(wait, 0.0), self.longest_wait_seconds)


@dataclass(eq=False)
class _Cut(Exception):
    """This attempt is over; another may resume."""

    message: str
    response: requests.Response | None = None


@dataclass(frozen=True)
class _Remote:
    """The whole file as the server describes it; the same before and after an interruption, or the file changed."""

    size: int
    etag: str
    md5: str  # base64, "" where the server does not say


def download(fresh_url: Callable[[], str], path: Path, transfer: Transfer, check: Callable[[Path], object]) -> None:
    """Fetch a file through `<path>.part`; resume what is there; check size, md5 and `check`; then rename. `fresh_url`
    returns a signed address; it is called again for every attempt, since addresses expire. Raises `KitError` after
    `transfer.failures` attempts in a row without a byte; the part is kept for the next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    failures = 0
    while True:
        before = _size(part)
        try:
            remote = _attempt(fresh_url(), part, note, transfer, path.name)
            break
        except _Cut as cut:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= transfer.failures:
                kept = f"{_size(part):,} bytes are kept; type the same command to go on"
                raise KitError(f"{path.name}: {cut.message}, {failures} times in a row; {kept}") from None
            wait = transfer.wait_seconds(max(failures, 1), cut.response)
            console.warn(f"{path.name}: {cut.message}; resuming in {console.duration(wait)}")
            time.sleep(wait)
    try:
        _verify(part, remote, path.name)
        check(part)
    except KitError:
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        raise
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    note.unlink(missing_ok=True)


def connection_trouble(error: Exception) -> str | None:
    """What is wrong between here and Kaggle, where asking again is of no use: a certificate, or a proxy."""
    if isinstance(error, requests.exceptions.ProxyError):
        given = [f"{name}={os.environ[name]}" for name in PROXIES if os.environ.get(name)] or ["the system's settings"]
        shown = re.sub(r"=(\w+://)?.*@", r"=\1", given[0])  # without name and password
        return f"the proxy does not answer ({shown}): correct or unset it"
    if isinstance(error, requests.exceptions.SSLError):
        why = re.search(r"certificate verify failed[^()'\"]*", str(error))  # the rest has the signed address
        shown = why[0].strip() if why else "no details"
        own = "name your network's certificate in REQUESTS_CA_BUNDLE, where it has one of its own"
        return f"the certificate that comes in Kaggle's name is not trusted ({shown}): {own}"
    return None


def _attempt(url: str, part: Path, note: Path, transfer: Transfer, name: str) -> _Remote:
    """One request, appended to the part; returns when the file is complete, else raises `_Cut`."""
    known = _read_note(note)
    start = _size(part) if known is not None else 0
    if known is not None and start == known.size:
        return known
    if known is not None and start > known.size:
        known, start = None, 0
    headers = {"Accept-Encoding": "identity"}
    if known is not None and start:
        headers |= {"Range": f"bytes={start}-", "If-Range": known.etag}
    try:
        timeout = (transfer.connect_seconds, transfer.silence_seconds)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            remote, start = _begin(response, known, start)
            write_json(note, vars(remote))
            bars = console.progress(name, remote.size, start, "bytes")
            with part.open("r+b" if start else "wb") as file, bars as bar:
                file.truncate(start)
                file.seek(start)
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.advance(len(chunk))
    except requests.RequestException as error:
        if (trouble := connection_trouble(error)) is not None:
            raise KitError(trouble) from None
        silent = isinstance(error, requests.Timeout) or "timed out" in str(error)
        raise _Cut(f"no byte for {transfer.silence_seconds:g} s" if silent else "the connection was cut") from None
    except OSError as error:
        raise KitError(f"{part}: cannot be written ({error.strerror}); free some space, then try again") from None
    if _size(part) < remote.size:
        raise _Cut("the connection was cut")
    return remote


def _begin(response: requests.Response, known: _Remote | None, start: int) -> tuple[_Remote, int]:
    """Look at the response's headers: what file it is, and from which byte it starts."""
    status = response.status_code
    if status not in {200, 206}:
        raise _Cut(f"the storage answers with an error ({status})", response)
    if "html" in response.headers.get("Content-Type", ""):
        raise _Cut("a web page came in place of the data")
    length = response.headers.get("Content-Length", "")
    if not length.isdigit():
        raise _Cut("the storage does not say how long the file is")
    size = int(length)
    if status == 206:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if known is None or not span.startswith(f"{start}-") or total != str(known.size):
            raise _Cut("the storage sent a different part than requested")
        return known, start
    items = [item.strip().partition("=") for item in response.headers.get("x-goog-hash", "").split(",")]
    hashes = {name: value for name, _, value in items}
    return _Remote(size, response.headers.get("ETag", ""), hashes.get("md5", "")), 0


def _verify(part: Path, remote: _Remote, name: str) -> None:
    size = _size(part)
    if size != remote.size:
        raise KitError(f"{name}: {size:,} bytes came, {remote.size:,} were announced; type the same command again")
    if remote.md5:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").digest()
        if base64.b64encode(digest).decode() != remote.md5:
            raise KitError(f"{name}: wrong bytes came (its md5 is not the announced one); type the same command again")


def _read_note(note: Path) -> _Remote | None:
    try:
        return _Remote(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
