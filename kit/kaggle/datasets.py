"""Private datasets: files put where a notebook can mount them, once for each content."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import requests

from kit import console
from kit.errors import KitError, examples
from kit.kaggle.calls import Connection, NotAllowedError, NotThereError, UnsureError, request
from kit.kaggle.credentials import sdk
from kit.kaggle.transfer import connection_trouble
from kit.workspace import file_hash, fingerprint

MOST_LETTERS = 50  # of a slug
POLL = 10.0  # seconds
PATIENCE = 1800.0  # seconds for Kaggle to unpack and copy
_request = partial(request, "datasets.types.dataset_api_service")


class Datasets(Connection):
    """The datasets of the account whose credentials are in force."""

    MISSING = "Kaggle knows no dataset '{subject}' (404)"
    REFUSED = "See that the account of {source} owns '{subject}' and that its phone is verified"
    PAGE = "https://www.kaggle.com/datasets"

    def put(self, name: str, files: Sequence[Path]) -> str:
        """owner/slug of a private dataset of these files, ready to be mounted; uploaded where it is not there yet.
        The slug holds a hash of the content."""
        key = fingerprint([(file.name, file_hash(file)) for file in files])[:10]
        slug = f"kit-{name[: MOST_LETTERS - len(key) - 5].strip('-')}-{key}"
        status = self._status(slug)
        if status in {None, "FAILED", "DELETED"}:
            if status is not None:
                self.delete(slug)
            size = sum(file.stat().st_size for file in files)
            console.stage(
                "kaggle", f"uploading {examples((file.name for file in files), 4)} ({size / 1e6:,.1f} MB): {slug}"
            )
            self._create(slug, [self.upload(file) for file in files])
        self._wait(slug)
        return f"{self.owner}/{slug}"

    def upload(self, file: Path) -> str:
        """The token of the file in Kaggle's storage; goes on where a cut upload stopped."""
        size = file.stat().st_size
        blobs = "blobs.types.blob_api_service"
        fields = {"name": file.name, "content_length": size, "last_modified_epoch_seconds": int(file.stat().st_mtime)}
        start = request(blobs, "ApiStartBlobUploadRequest", type=sdk(blobs, "ApiBlobType").DATASET, **fields)
        for attempt in range(1, self._attempts + 1):
            upload = self._call(file.name, lambda: self._sdk.blobs.blob_api_client.start_blob_upload(start))
            if self._send(file, size, upload.create_url):
                return str(upload.token)
            time.sleep(self._transfer.wait_seconds(attempt))
        raise KitError(f"{file}: the upload to Kaggle was cut {self._attempts} times; type the same command again")

    def _send(self, file: Path, size: int, url: str) -> bool:
        """PUT the bytes, resuming as often as something arrives. False: the upload has to begin anew."""
        sent, failures = 0, 0
        while failures < self._attempts:
            headers = {"Content-Range": f"bytes {sent}-{size - 1}/{size}"} if sent else {}
            try:
                with file.open("rb") as data:
                    data.seek(sent)
                    answer = self._put(url, data, headers)
                if answer.status_code in {200, 201}:
                    return True
                if answer.status_code == 404:
                    return False
            except requests.RequestException as error:
                if (trouble := connection_trouble(error)) is not None:
                    raise KitError(trouble) from None
            arrived = self._arrived(url, size)
            if arrived is None:
                return False
            if arrived == size:
                return True
            failures = 0 if arrived > sent else failures + 1
            sent = arrived
            console.warn(f"{file.name}: the upload was cut; going on from {sent:,} of {size:,} bytes")
            time.sleep(self._transfer.wait_seconds(max(1, failures)))
        return False

    def _arrived(self, url: str, size: int) -> int | None:
        """How many bytes the storage has; `None` where it has forgotten the upload."""
        try:
            answer = self._put(url, b"", {"Content-Range": f"bytes */{size}"})
        except requests.RequestException:
            return 0
        if answer.status_code in {200, 201}:
            return size
        if answer.status_code == 308:
            last = answer.headers.get("Range", "").rpartition("-")[2]
            return int(last) + 1 if last.isdigit() else 0
        return None if answer.status_code == 404 else 0

    def _put(self, url: str, data: Any, headers: dict[str, str]) -> requests.Response:
        timeout = (self._transfer.connect_seconds, self._transfer.silence_seconds)
        return requests.put(url, data=data, headers=headers, timeout=timeout)

    def _create(self, slug: str, tokens: Sequence[str]) -> None:
        files = [_request("ApiDatasetNewFile", token=token) for token in tokens]
        asked = _request(
            "ApiCreateDatasetRequest", owner_slug=self.owner, slug=slug, title=slug.replace("-", " "), is_private=True,
            license_name="other", files=files,
        )  # fmt: skip
        try:
            answer = self._call(slug, lambda: self._api.create_dataset(asked), once=True)
        except UnsureError:
            if self._status(slug) is None:
                raise
            return
        if answer.error:
            raise KitError(f"Kaggle does not make the dataset {slug}: {answer.error}")

    def _status(self, slug: str) -> str | None:
        """`None` where there is no such dataset."""
        asked = _request("ApiGetDatasetStatusRequest", owner_slug=self.owner, dataset_slug=slug)
        try:
            return str(self._call(slug, lambda: self._api.get_dataset_status(asked)).status.name)
        except (NotThereError, NotAllowedError):
            return None
        except KeyError:  # a status that the SDK does not know
            return "REPROCESSING"

    def _wait(self, slug: str) -> None:
        ends = time.monotonic() + PATIENCE
        while (status := self._status(slug)) != "READY":
            if status in {"FAILED", "DELETED"}:
                raise KitError(f"Kaggle could not make the dataset {slug} ({status}); type the same command again")
            if time.monotonic() > ends:
                raise KitError(f"the dataset {slug} is not ready after {console.duration(PATIENCE)}; try again later")
            time.sleep(POLL)

    def delete(self, slug: str) -> None:
        asked = _request("ApiDeleteDatasetRequest", owner_slug=self.owner, dataset_slug=slug)
        self._call(slug, lambda: self._api.delete_dataset(asked))

    @property
    def _api(self) -> Any:
        return self._sdk.datasets.dataset_api_client
