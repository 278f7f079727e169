"""Which Kaggle credentials are in force. Their values never leave this package, and never reach a message."""

import json
import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from kit.errors import KitError, reason
from kit.workspace import expanded

HOW = (
    "create a token at https://www.kaggle.com/settings (API) and put it in the environment variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token, or put kaggle.json in ~/.kaggle"
)


@dataclass(frozen=True)
class Credentials:
    """`source` says where they come from; the secrets are left out of every printed form."""

    source: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def sdk(module: str, name: str) -> Any:
    """A name of `kagglesdk`, the layer under `kaggle`. Raises `KitError` where that is missing or too old."""
    try:
        return getattr(import_module(f"kagglesdk.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise KitError(f"this needs the package kaggle: pip install 'kaggle>=2.2,<3' ({reason(error)})") from None


def find_credentials() -> Credentials | None:
    """In Kaggle's own order: access token, then username and key, then `kaggle auth login`; `None` if there are none.
    Raises `KitError` on a kaggle.json that cannot be read."""
    from_env = sdk("kaggle_env", "get_access_token_from_env")
    try:
        token, source = from_env()
    except OSError:  # a long token is taken for a file's path, and the error repeats it
        token, source = os.environ.get("KAGGLE_API_TOKEN"), "KAGGLE_API_TOKEN"
    if token:
        where = {"access_token": "~/.kaggle/access_token"}.get(source, f"the environment variable {source}")
        return Credentials(where, token=_clean(token, where))
    username, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if username and key:
        where = "the environment variables KAGGLE_USERNAME and KAGGLE_KEY"
        return Credentials(where, _clean(username, where), _clean(key, where))
    given, home = os.environ.get("KAGGLE_CONFIG_DIR"), os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    for folder in (given, "~/.kaggle", f"{home}/kaggle"):
        if folder and (file := expanded(folder) / "kaggle.json").is_file():
            return _from_json(file)
    if expanded("~/.kaggle/credentials.json").is_file():
        return Credentials("~/.kaggle/credentials.json (kaggle auth login)")
    return None


def _from_json(file: Path) -> Credentials:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return Credentials(str(file), _clean(raw["username"], str(file)), _clean(raw["key"], str(file)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KitError(f"{file}: not a kaggle.json with username and key ({type(error).__name__}); {HOW}") from None


def _clean(secret: str, where: str) -> str:
    """Without stray whitespace around a copied secret; what would break an HTTP header is refused, and not shown."""
    secret = secret.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise KitError(f"the Kaggle credentials in {where} hold characters that no credentials have: copy them again")
    return secret
