"""Competitions: their facts, files and leaderboard, and submissions of files."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests

from kit import console
from kit.errors import KitError
from kit.kaggle.calls import Connection, NotThereError, request
from kit.kaggle.transfer import download

MINUTE = 60.0
POLL = 5.0  # seconds


@dataclass(frozen=True)
class CompetitionFacts:
    entered: bool
    submissions_disabled: bool
    deadline: str
    max_daily_submissions: int
    takes_notebooks_only: bool  # a code competition
    evaluation_metric: str  # in Kaggle's words, "" where it does not say


@dataclass(frozen=True)
class Scored:
    """A submission's fate: `status` PENDING, COMPLETE or ERROR; scores as Kaggle spells them, "" when unset."""

    ref: int
    status: str
    public_score: str
    private_score: str
    error: str


class KaggleClient(Connection):
    """Every failure is a `KitError` that says what happened and what to do."""

    MISSING = "Kaggle knows no competition '{subject}' (404): the slug is the last part of its address"
    REFUSED = (
        "Accept the rules at https://www.kaggle.com/c/{subject}/rules with the account of {source}, see that its phone "
        "is verified, and that '{subject}' is the name in the competition's address"
    )
    PAGE = "https://www.kaggle.com/c/{subject}/submissions"

    def download_bundle(self, slug: str, path: Path, check: Callable[[Path], object]) -> None:
        """All files of the competition as one zip under `path`; resumes where a killed download stopped. `check` is
        called on the whole file before it gets its final name, and raises `KitError` when the file is not good."""

        def fresh_url() -> str:
            request = _request("ApiDownloadDataFilesRequest", competition_name=slug)
            response = self._call(slug, lambda: self._api.download_data_files(request))
            response.close()
            return response.url

        download(fresh_url, path, self._transfer, check)

    def competition(self, slug: str) -> CompetitionFacts:
        request = _request("ApiGetCompetitionRequest", competition_name=slug)
        answer = self._call(slug, lambda: self._api.get_competition(request))
        deadline = answer.deadline.strftime("%Y-%m-%d %H:%M") if answer.deadline else ""
        closed, limit = bool(answer.submissions_disabled), answer.max_daily_submissions or 0
        notebooks, metric = bool(answer.is_kernels_submissions_only), answer.evaluation_metric or ""
        return CompetitionFacts(bool(answer.user_has_entered), closed, deadline, limit, notebooks, metric)

    def submissions_left(self, slug: str) -> int:
        request = _request("ApiGetSubmissionLimitsRequest", competition_name=slug)
        return int(self._call(slug, lambda: self._api.get_submission_limits(request)).num_allowed_now)

    def leaderboard(self, slug: str) -> list[tuple[str, float]]:
        """Every team of the public leaderboard: (name, score), as Kaggle orders them."""
        request = _request("ApiGetLeaderboardRequest", competition_name=slug, page_size=200)
        teams: list[tuple[str, float]] = []
        while True:
            answer = self._call(slug, lambda: self._api.get_leaderboard(request))
            teams += [(row.team_name or "", float(row.score)) for row in answer.submissions or [] if row.score]
            if not answer.next_page_token or not answer.submissions:
                return teams
            request.page_token = answer.next_page_token

    def upload(self, slug: str, file: Path) -> str:
        """Put a file into Kaggle's storage; returns the token to submit it with. Uses up nothing yet."""
        data = file.read_bytes()
        start = _request(
            "ApiStartSubmissionUploadRequest", competition_name=slug, file_name=file.name, content_length=len(data),
            last_modified_epoch_seconds=int(file.stat().st_mtime),
        )  # fmt: skip

        def put() -> Any:
            upload = self._api.start_submission_upload(start)
            timeout = (self._transfer.connect_seconds, self._transfer.silence_seconds)
            requests.put(upload.create_url, data=data, timeout=timeout).raise_for_status()
            return upload

        return str(self._call(slug, put).token)

    def hand_in(self, slug: str, token: str, message: str) -> int:
        """Make an uploaded file a submission; returns Kaggle's reference. Tried once, as it uses up one of the day's.
        Raises `UnsureError` where Kaggle may have taken it after all."""
        fields = {"competition_name": slug, "blob_file_tokens": token, "submission_description": message}
        request = _request("ApiCreateSubmissionRequest", **fields)
        answer = self._call(slug, lambda: self._api.create_submission(request), once=True)
        if not answer.ref:
            raise KitError(f"Kaggle did not take the file (no reference in its answer: {answer.message or 'empty'})")
        return int(answer.ref)

    def hand_in_notebook(self, slug: str, owner: str, kernel: str, version: int, message: str) -> int:
        """Submit a version of a notebook that has run; as `hand_in`."""
        fields = {"competition_name": slug, "kernel_owner": owner, "kernel_slug": kernel, "kernel_version": version}
        asked = _request(
            "ApiCreateCodeSubmissionRequest", **fields, file_name="submission.csv", submission_description=message
        )
        answer = self._call(slug, lambda: self._api.create_code_submission(asked), once=True)
        if not answer.ref:
            raise KitError(f"Kaggle did not take it (no reference in its answer: {answer.message or 'empty'})")
        return int(answer.ref)

    def wait_for_score(self, slug: str, ref: int, seconds: float) -> Scored:
        """Ask until the submission is scored or `seconds` have passed; returns the last answer either way."""
        ends, told = time.monotonic() + seconds, time.monotonic()
        while True:
            scored = self._fate(slug, ref)
            if time.monotonic() - told > MINUTE and scored.status == "PENDING":
                told = time.monotonic()
                console.stage("submit", f"reference {ref}: no score yet, {console.duration(ends - told)} to wait")
            if scored.status != "PENDING" or time.monotonic() + POLL > ends:
                return scored
            time.sleep(POLL)

    def _fate(self, slug: str, ref: int) -> Scored:
        asked = _request("ApiGetSubmissionRequest", ref=ref)
        try:
            row = self._call(slug, lambda: self._api.get_submission(asked))
        except (NotThereError, KeyError):  # a new reference is not known for a while; the SDK does not know a status
            return Scored(ref, "PENDING", "", "", "")
        public, private, error = (text or "" for text in (row.public_score, row.private_score, row.error_description))
        failed = row.status.name == "COMPLETE" and error and not public and not private  # a notebook that broke
        return Scored(ref, "ERROR" if failed else row.status.name, public, private, error)

    @property
    def _api(self) -> Any:
        return self._sdk.competitions.competition_api_client


_request = partial(request, "competitions.types.competition_api_service")
