"""The one place that talks to Kaggle: the official SDK for authentication and calls, our own loop for the bytes.

The SDK has no timeouts, retries nothing, and its download checks only the size; see `kit.kaggle.transfer`. We use
`kagglesdk`, the layer under `kaggle`: importing `kaggle` itself authenticates over the network and prints."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from kit import console
from kit.errors import KitError
from kit.kaggle.credentials import HOW, Credentials, find_credentials, sdk
from kit.kaggle.transfer import Transfer, connection_trouble, download

ATTEMPTS = 4  # for a call that may be repeated
T = TypeVar("T")


@dataclass(frozen=True)
class CompetitionFacts:
    entered: bool
    submissions_disabled: bool
    deadline: str
    max_daily_submissions: int
    evaluation_metric: str  # in Kaggle's words, "" where it does not say


@dataclass(frozen=True)
class Scored:
    """A submission's fate: `status` PENDING, COMPLETE or ERROR; scores as Kaggle spells them, "" when unset."""

    ref: int
    status: str
    public_score: str
    private_score: str
    error: str


class UnsureError(KitError):
    """It is not known whether Kaggle took the submission."""


class _Patient(HTTPAdapter):
    """requests waits for ever by default; here a silent server causes a timeout."""

    def __init__(self, transfer: Transfer) -> None:
        self._timeout = (transfer.connect_seconds, transfer.silence_seconds)
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        return super().send(request, *args, **kwargs)


class KaggleClient:
    """Calls to Kaggle. Every failure is a `KitError` that says what happened and what to do, without a secret."""

    def __init__(self, sdk: Any, credentials: Credentials, transfer: Transfer, attempts: int = ATTEMPTS) -> None:
        self._sdk, self._credentials, self._transfer, self._attempts = sdk, credentials, transfer, attempts

    @classmethod
    def connect(cls, transfer: Transfer | None = None, attempts: int = ATTEMPTS) -> "KaggleClient":
        """A client with the credentials in force; raises `KitError` where there are none. Makes no call yet."""
        client, login = sdk("kaggle_client", "KaggleClient"), sdk("kaggle_creds", "KaggleCredentials")
        credentials, transfer = find_credentials(), transfer or Transfer()
        if credentials is None:
            raise KitError(f"no Kaggle credentials; {HOW}")
        token = credentials.token
        if token is None and credentials.password is None:  # kaggle auth login: fetch today's token
            stored = login.load(cls._open(client(), transfer))
            try:
                token = stored.get_access_token() if stored else None
            except requests.RequestException:
                token = None
            if not token:
                raise KitError(f"{credentials.source} no longer gives an access token; type `kaggle auth login`")
        opened = client(username=credentials.username, password=credentials.password, api_token=token, user_agent="kit")
        return cls(cls._open(opened, transfer), credentials, transfer, attempts)

    @staticmethod
    def _open(sdk: Any, transfer: Transfer) -> Any:
        session = sdk.__enter__().http_client()._session
        session.mount("https://", _Patient(transfer))
        session.mount("http://", _Patient(transfer))
        return sdk

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
        return CompetitionFacts(bool(answer.user_has_entered), closed, deadline, limit, answer.evaluation_metric or "")

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

    def wait_for_score(self, slug: str, ref: int, seconds: float, poll: float = 5.0) -> Scored:
        """Ask until the submission is scored or `seconds` have passed; returns the last answer either way."""
        request, ends = _request("ApiGetSubmissionRequest", ref=ref), time.monotonic() + seconds
        while True:
            row = self._call(slug, lambda: self._api.get_submission(request))
            words = [text or "" for text in (row.public_score, row.private_score, row.error_description)]
            scored = Scored(ref, row.status.name, *words)
            if scored.status != "PENDING" or time.monotonic() + poll > ends:
                return scored
            time.sleep(poll)

    @property
    def _api(self) -> Any:
        return self._sdk.competitions.competition_api_client

    def _call(self, slug: str, call: Callable[[], T], once: bool = False) -> T:
        """Make a call; unless `once`, it is repeated, with back-off, on 429, 5xx and a silent or absent server."""
        attempts = 1 if once else self._attempts
        for attempt in range(1, attempts + 1):
            try:
                return call()
            except (requests.RequestException, ValueError) as error:  # ValueError: a web page in place of JSON
                if (trouble := connection_trouble(error)) is not None:
                    raise KitError(trouble) from None
                response = getattr(error, "response", None)
                status, wait = _status(error), self._transfer.wait_seconds(attempt, response)
                if attempt == attempts or not (status is None or status == 429 or status >= 500):
                    unsure = once and (status is None or status >= 500)
                    raise (UnsureError if unsure else KitError)(self._explain(slug, status, unsure, response)) from None
                console.warn(f"Kaggle {_what(status)}; trying again in {console.duration(wait)}")
                time.sleep(wait)
        raise AssertionError

    def _explain(self, slug: str, status: int | None, unsure: bool, response: requests.Response | None) -> str:
        source, said = self._credentials.source, self._said(response)
        if status == 401:
            stale = "A stale KAGGLE_API_TOKEN hides a good kaggle.json: unset it"
            return f"Kaggle refused the credentials from {source} (401): they are wrong or outdated. {HOW}. {stale}"
        if status == 403:
            rules = f"Accept the rules at https://www.kaggle.com/c/{slug}/rules with the account of {source}"
            right = f"see that its phone is verified, and that '{slug}' is the name in the competition's address"
            return f"Kaggle does not let you in (403). {rules}, {right}"
        if status == 404:
            return f"Kaggle knows no competition '{slug}' (404): the slug is the last part of its address{said}"
        if status is not None and status < 500 and status != 429:
            return f"Kaggle refuses the request ({status}){said or ': no reason given'}"
        advice = "wait a few minutes and type the same command again" if status else "check the network, then try again"
        look = f". It may have been taken: look at https://www.kaggle.com/c/{slug}/submissions before trying again"
        return f"Kaggle {_what(status)}{said}; {advice}{look if unsure else ''}"

    def _said(self, response: requests.Response | None) -> str:
        """Kaggle's own message, where there is one, without our secrets."""
        try:
            words = str(response.json()["message"]) if response is not None else ""
        except (ValueError, KeyError, TypeError):
            return ""
        for secret in filter(None, (self._credentials.token, self._credentials.password)):
            words = words.replace(secret, "***")
        return f" (Kaggle says: {' '.join(words.split())[:200]})" if words else ""


def _request(kind: str, **fields: Any) -> Any:
    """One of the SDK's requests. (Its setters check the types.)"""
    request = sdk("competitions.types.competition_api_service", kind)()
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def _status(error: Exception) -> int | None:
    """The HTTP status, or `None` where no answer came; Kaggle also hides one in the JSON of a 200."""
    response = getattr(error, "response", None)
    if response is None:
        return 502 if isinstance(error, ValueError) else None
    if response.status_code == 200:
        try:
            return int(response.json()["code"])
        except (ValueError, KeyError, TypeError):
            return 500
    return response.status_code


def _what(status: int | None) -> str:
    if status is None:
        return "does not answer"
    return "asks to slow down (429)" if status == 429 else f"answers with an error ({status})"
