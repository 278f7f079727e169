"""Notebooks and scripts that run on Kaggle: push, find, follow, fetch, delete, and what is left of the quota."""

import datetime
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests

from kit import console
from kit.errors import KitError, examples
from kit.kaggle.calls import Connection, NotAllowedError, NotThereError, UnsureError, request
from kit.kaggle.credentials import sdk
from kit.kaggle.logs import lines_of
from kit.kaggle.transfer import download

GPU = "NvidiaTeslaT4"  # two of them
GOES_ON = {"QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED"}
LOOKS = 4  # for a push that was not answered
_request = partial(request, "kernels.types.kernels_api_service")


@dataclass(frozen=True)
class Kernel:
    """What is pushed: `text` is its one file, the sources are mounted (datasets and kernels as owner/slug)."""

    slug: str
    text: str
    competition: str | None = None
    datasets: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    kind: str = "script"  # or notebook
    gpu: bool = True
    internet: bool = True

    def metadata(self, owner: str) -> dict[str, Any]:
        """kernel-metadata.json of the `kaggle` command."""
        return {
            "id": f"{owner}/{self.slug}", "title": self.slug.replace("-", " "), "code_file": "script.py",
            "language": "python", "kernel_type": self.kind, "is_private": True, "enable_gpu": self.gpu,
            "machine_shape": GPU if self.gpu else "", "enable_internet": self.internet,
            "competition_sources": [self.competition] if self.competition else [],
            "dataset_sources": list(self.datasets), "kernel_sources": list(self.kernels),
        }  # fmt: skip


@dataclass(frozen=True)
class Session:
    """A version of a kernel, and how it fares: `status` as Kaggle spells it."""

    slug: str
    version: int
    status: str
    failure: str = ""

    @property
    def goes_on(self) -> bool:
        return self.status in GOES_ON


@dataclass(frozen=True)
class Quota:
    """GPU hours of this week, and when the next one begins."""

    used: float
    reserved: float
    allowed: float
    reset: datetime.datetime | None

    @property
    def left(self) -> float:
        return max(0.0, self.allowed - self.used) if self.allowed else math.inf  # not told

    def __str__(self) -> str:
        if not self.allowed:
            return "Kaggle does not tell the GPU quota"
        day = f", reset on {self.reset:%A, %d %B, %H:%M} UTC" if self.reset else ""
        reserved = f", {self.reserved:.1f} reserved by running sessions" if self.reserved else ""
        return f"{self.used:.1f} of {self.allowed:.0f} GPU hours used this week{reserved}{day}"


class RefusedError(KitError):
    """Kaggle did not start the session; `busy`: because as many as it allows are running."""

    def __init__(self, message: str, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class Kernels(Connection):
    """The notebooks of the account whose credentials are in force."""

    MISSING = "Kaggle knows no notebook '{subject}' (404)"
    REFUSED = (
        "See that the account of {source} owns '{subject}' and that its phone is verified (Kaggle wants that for GPUs "
        "and internet)"
    )
    PAGE = "https://www.kaggle.com/code"

    def find(self, slug: str) -> Session | None:
        """The newest version, `None` where there is no such kernel."""
        asked = _request("ApiGetKernelRequest", user_name=self.owner, kernel_slug=slug)
        try:
            found = self._call(slug, lambda: self._api.get_kernel(asked))
        except (NotThereError, NotAllowedError):
            return None
        return self.look(Session(slug, found.metadata.current_version_number or 1, "QUEUED"))

    def look(self, session: Session) -> Session:
        """The same, as it is now."""
        fields = {"user_name": self.owner, "kernel_slug": session.slug, "version_label": f"v{session.version}"}
        asked = _request("ApiGetKernelSessionStatusRequest", **fields)
        try:
            answer = self._call(session.slug, lambda: self._api.get_kernel_session_status(asked))
        except KeyError:  # a status that the SDK does not know
            return Session(session.slug, session.version, "RUNNING")
        return Session(session.slug, session.version, answer.status.name, answer.failure_message or "")

    def push(self, kernel: Kernel, before: int = 0) -> Session:
        """Start a version after `before`, the newest one there (0: none). A push that is not answered is looked for
        before it is repeated. Raises `RefusedError` with Kaggle's own reason."""
        asked = _request(
            "ApiSaveKernelRequest", slug=f"{self.owner}/{kernel.slug}", new_title=kernel.slug.replace("-", " "),
            text=kernel.text, language="python", kernel_type=kernel.kind, is_private=True, enable_gpu=kernel.gpu,
            enable_internet=kernel.internet, dataset_data_sources=list(kernel.datasets),
            kernel_data_sources=list(kernel.kernels),
            competition_data_sources=[kernel.competition] if kernel.competition else [],
        )  # fmt: skip
        if kernel.gpu:
            asked.machine_shape = GPU
        for attempt in range(1, self._attempts + 1):
            try:
                answer = self._call(kernel.slug, lambda: self._api.save_kernel(asked), once=True)
                break
            except UnsureError as unsure:
                console.warn(f"{unsure}")
                taken = self._taken(kernel.slug, before)
                if taken is not None:
                    return taken
                if attempt == self._attempts:
                    why = "Kaggle does not answer when it is pushed, and no session has begun"
                    raise KitError(f"{kernel.slug}: {why}; try again in a few minutes") from None
        self._require_taken(kernel, answer)
        return Session(kernel.slug, answer.version_number or before + 1, "QUEUED")

    def _taken(self, slug: str, before: int) -> Session | None:
        """The version that an unanswered push began, if it did."""
        for attempt in range(1, LOOKS + 1):
            found = self.find(slug)
            if found is not None and found.version > before:
                console.stage("kaggle", f"{slug}: the push had been taken")
                return found
            time.sleep(self._transfer.wait_seconds(attempt))
        return None

    def _require_taken(self, kernel: Kernel, answer: Any) -> None:
        if answer.error:
            raise RefusedError(f"Kaggle does not start {kernel.slug}: {answer.error}", "session count" in answer.error)
        wrong = {
            "dataset": answer.invalid_dataset_sources, "competition": answer.invalid_competition_sources,
            "notebook": answer.invalid_kernel_sources, "model": answer.invalid_model_sources,
        }  # fmt: skip
        missing = [f"{kind} {examples(names)}" for kind, names in wrong.items() if names]
        name = (answer.ref or "").rstrip("/").rpartition("/")[2]
        if missing or name != kernel.slug:
            self.delete(name or kernel.slug)  # it runs without them, on the quota
        if missing:
            rules = f"https://www.kaggle.com/c/{kernel.competition}/rules"
            advice = f"accept the rules at {rules}" if wrong["competition"] else "see that they exist and are yours"
            raise RefusedError(f"Kaggle cannot mount {' and '.join(missing)} for {kernel.slug}: {advice}")
        if name != kernel.slug:
            raise RefusedError(f"Kaggle calls {kernel.slug} '{name}': deleted again; give the run another name")

    def outputs(self, session: Session) -> dict[str, str]:
        """The files of a session: name -> signed address."""
        fields = {"user_name": self.owner, "kernel_slug": session.slug, "version_label": f"v{session.version}"}
        asked = _request("ApiListKernelSessionOutputRequest", page_size=200, **fields)
        found: dict[str, str] = {}
        while True:
            answer = self._call(session.slug, lambda: self._api.list_kernel_session_output(asked))
            found |= {one.file_name: one.url for one in answer.files or []}
            if not answer.next_page_token:
                return found
            asked.page_token = answer.next_page_token

    def fetch(self, session: Session, name: str, path: Path, check: Callable[[Path], object]) -> None:
        """One of its files; resumes what is there. `check` raises `KitError` where the bytes are wrong."""

        def fresh_url() -> str:
            try:
                return self.outputs(session)[name]
            except KeyError:
                raise KitError(f"{session.slug}: Kaggle does not list {name} any more") from None

        download(fresh_url, path, self._transfer, check)

    def log(self, session: Session) -> Iterator[str]:
        """Its log, line by line, to its end or until Kaggle cuts the stream, which it does every few minutes."""
        address = self._http._get_request_url("kernels", f"logs/stream/{self.owner}/{session.slug}")

        def opened() -> requests.Response:
            asked = {"versionLabel": f"v{session.version}"}
            response: requests.Response = self._http._session.get(address, params=asked, stream=True)
            response.raise_for_status()
            return response

        with self._call(session.slug, opened) as response:
            yield from lines_of(response)

    def quota(self) -> Quota:
        asked = _request("ApiGetAcceleratorQuotaStatisticsRequest")
        answer = self._call("", lambda: self._api.get_accelerator_quota_statistics(asked))
        gpu = answer.gpu_quota
        spans = (gpu.time_used, gpu.time_reserved, gpu.total_time_allowed) if gpu else (None, None, None)
        used, reserved, allowed = (span.total_seconds() / 3600 if span else 0.0 for span in spans)
        return Quota(used, reserved, allowed, answer.quota_refresh_time)

    def mine(self, prefix: str) -> list[str]:
        """Slugs of the account's kernels that begin so, the newest first."""
        asked = _request("ApiListKernelsRequest", user=self.owner, search=prefix.strip("-"), page_size=100)
        asked.group = sdk("kernels.types.kernels_enums", "KernelsListViewType").PROFILE
        answer = self._call("", lambda: self._api.list_kernels(asked))
        slugs = [(one.ref or "").rpartition("/")[2] for one in answer.kernels or []]
        return [slug for slug in slugs if slug.startswith(prefix)]

    def delete(self, slug: str) -> None:
        """Stops it too; its output and log go with it."""
        asked = _request("ApiDeleteKernelRequest", user_name=self.owner, kernel_slug=slug)
        self._call(slug, lambda: self._api.delete_kernel(asked))

    @property
    def _api(self) -> Any:
        return self._sdk.kernels.kernels_api_client

    @property
    def _http(self) -> Any:
        return self._sdk.http_client()


def slugified(name: str) -> str:
    """As Kaggle makes an address of a title."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
