"""A connection to Kaggle: the official SDK made patient; every failure is one line, without a secret.

The SDK has no timeouts and retries nothing. We use `kagglesdk`, the layer under `kaggle`: importing `kaggle` itself
authenticates over the network and prints."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import requests
from requests.adapters import HTTPAdapter

from kit import console
from kit.errors import KitError
from kit.kaggle.credentials import HOW, Credentials, find_credentials, sdk
from kit.kaggle.transfer import Transfer, connection_trouble

ATTEMPTS = 4  # for a call that may be repeated
T = TypeVar("T")


class UnsureError(KitError):
    """It is not known whether Kaggle took what was sent."""


class NotThereError(KitError):
    """Kaggle knows no such thing (404)."""


class NotAllowedError(KitError):
    """Kaggle does not let this account in (403): also what it says of a notebook or dataset that does not exist."""


class _Patient(HTTPAdapter):
    """requests waits for ever by default; here a silent server causes a timeout."""

    def __init__(self, transfer: Transfer) -> None:
        self._timeout = (transfer.connect_seconds, transfer.silence_seconds)
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        return super().send(request, *args, **kwargs)


class Connection:
    """Calls to Kaggle about a subject: a competition's slug, a notebook's, a dataset's. Subclasses say in their own
    words what it means that the subject is `MISSING` or `REFUSED`, and on which `PAGE` it can be looked at."""

    MISSING: ClassVar[str]
    REFUSED: ClassVar[str]
    PAGE: ClassVar[str]

    def __init__(self, sdk: Any, credentials: Credentials, transfer: Transfer, attempts: int = ATTEMPTS) -> None:
        self._sdk, self._credentials, self._transfer, self._attempts = sdk, credentials, transfer, attempts

    @classmethod
    def connect(cls, transfer: Transfer | None = None, attempts: int = ATTEMPTS) -> Self:
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
        return cls(cls._open(opened, transfer), replace(credentials, token=token), transfer, attempts)

    @staticmethod
    def _open(sdk: Any, transfer: Transfer) -> Any:
        session = sdk.__enter__().http_client()._session
        session.mount("https://", _Patient(transfer))
        session.mount("http://", _Patient(transfer))
        session.hooks["response"].append(_raise_hidden)
        return sdk

    @cached_property
    def owner(self) -> str:
        """The account's name; a token does not say it."""
        if self._credentials.username:
            return self._credentials.username
        asked = request("security.types.oauth_service", "IntrospectTokenRequest", token=self._credentials.token)
        answer = self._call("", lambda: self._sdk.security.oauth_client.introspect_token(asked))
        if not answer.active or not answer.username:
            raise KitError(f"the token from {self._credentials.source} is no longer valid; create a new one")
        return str(answer.username)

    def _call(self, subject: str, call: Callable[[], T], once: bool = False) -> T:
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
                    raise self._failure(subject, status, once, response) from None
                console.warn(f"Kaggle {_what(status)}; trying again in {console.duration(wait)}")
                time.sleep(wait)
        raise AssertionError

    def _failure(self, subject: str, status: int | None, once: bool, response: requests.Response | None) -> KitError:
        source, said = self._credentials.source, self._said(response)
        if status == 401:
            stale = "A stale KAGGLE_API_TOKEN hides a good kaggle.json: unset it"
            wrong = f"Kaggle refused the credentials from {source} (401): they are wrong or outdated"
            return KitError(f"{wrong}. {HOW}. {stale}")
        if status == 403:
            advice = self.REFUSED.format(subject=subject, source=source)
            return NotAllowedError(f"Kaggle does not let you in (403){said}. {advice}")
        if status == 404:
            return NotThereError(f"{self.MISSING.format(subject=subject, source=source)}{said}")
        if status is not None and status < 500 and status != 429:
            return KitError(f"Kaggle refuses the request ({status}){said or ': no reason given'}")
        advice = "wait a few minutes and type the same command again" if status else "check the network, then try again"
        words = f"Kaggle {_what(status)}{said}; {advice}"
        if not once or status == 429:
            return KitError(words)
        page = self.PAGE.format(subject=subject, source=source)
        return UnsureError(f"{words}. It may have been taken: look at {page} before trying again")

    def _said(self, response: requests.Response | None) -> str:
        """Kaggle's own message, where there is one, without our secrets."""
        found = _error_of(response)
        words = str(found.get("message", ""))
        for secret in filter(None, (self._credentials.token, self._credentials.password)):
            words = words.replace(secret, "***")
        return f" (Kaggle says: {' '.join(words.split())[:200]})" if words else ""


def request(module: str, kind: str, **fields: Any) -> Any:
    """One of the SDK's requests: `kernels.types.kernels_api_service`. (Its setters check the types.)"""
    made = sdk(module, kind)()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _status(error: Exception) -> int | None:
    """The HTTP status, or `None` where no answer came; Kaggle also hides one in the JSON of a 200."""
    response = getattr(error, "response", None)
    if response is None:
        return 502 if isinstance(error, ValueError) else None
    if response.status_code == 200:
        try:
            return int(_error_of(response)["code"])
        except (ValueError, KeyError, TypeError):
            return 500
    return int(response.status_code)


def _error_of(response: requests.Response | None) -> dict[str, Any]:
    """`{"code": 403, "message": …}`, alone or under `error`, as Kaggle sends it today; empty where there is none."""
    try:
        found = response.json() if response is not None else {}
    except ValueError:
        return {}
    found = found.get("error", found) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _raise_hidden(response: requests.Response, *_: Any, **__: Any) -> None:
    """The SDK sees an error in a 200 only where it is not nested."""
    is_json = "application/json" in response.headers.get("Content-Type", "")
    if response.status_code == 200 and is_json and "code" in _error_of(response):
        raise requests.HTTPError(response=response)


def _what(status: int | None) -> str:
    if status is None:
        return "does not answer"
    return "asks to slow down (429)" if status == 429 else f"answers with an error ({status})"
