"""A loopback Kaggle, spoken to by the real SDK: the calls that the kit makes, a storage, and failures on demand."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLUG = "dogs-vs-cats"
Answer = Callable[["Handler"], None]


@dataclass
class Kaggle:
    """The server's state; a test changes it, then looks at what was asked."""

    bundle: bytes = b""
    entered: bool = True
    submissions_disabled: bool = False
    left: int = 4
    evaluation_metric: str = "CategorizationAccuracy"
    pending_polls: int = 1  # GetSubmission answers PENDING so often
    final_status: str = "COMPLETE"
    public_score: str = "0.91234"
    ref: int = 4711
    teams: list[tuple[str, str]] = field(default_factory=list)  # (name, score), the best first
    failures: dict[str, list[Answer]] = field(default_factory=dict)  # call -> answers to give first
    storage: list[Answer] = field(default_factory=list)  # answers of the storage to give first
    calls: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    uploaded: bytes = b""
    description: str = ""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kaggle: Kaggle

    def log_message(self, *args) -> None:
        pass

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.reply(status, json.dumps(value).encode(), {name.replace("_", "-"): v for name, v in headers.items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = self.path.rsplit("/", 1)[-1]
        self.kaggle.calls.append(call)
        self.kaggle.authorization.append(self.headers.get("Authorization"))
        if self.kaggle.failures.get(call):
            self.kaggle.failures[call].pop(0)(self)
            return
        getattr(self, f"_{call}")(json.loads(body))

    def _GetCompetition(self, request: dict) -> None:  # noqa: N802
        self.json({
            "userHasEntered": self.kaggle.entered, "submissionsDisabled": self.kaggle.submissions_disabled,
            "deadline": "2014-02-01T00:00:00Z", "maxDailySubmissions": 5,
            "evaluationMetric": self.kaggle.evaluation_metric,
            "isKernelsSubmissionsOnly": getattr(self.kaggle, "notebooks_only", False),
        })  # fmt: skip

    def _GetSubmissionLimits(self, request: dict) -> None:  # noqa: N802
        self.json({"numToday": 1, "numTotal": 9, "numAllowedNow": self.kaggle.left})

    def _DownloadDataFiles(self, request: dict) -> None:  # noqa: N802
        if request["competitionName"] != SLUG:
            self.json({"code": 404, "message": "not found"}, 404)
            return
        self.reply(302, b"", {"Location": f"{self.kaggle.url}/storage/bundle.zip?signature=SECRETSIGNATURE"})

    def _GetLeaderboard(self, request: dict) -> None:  # noqa: N802
        size, start = 2, int(request.get("pageToken") or 0)
        page = self.kaggle.teams[start : start + size]
        rows = [{"teamId": 1, "teamName": name, "score": score} for name, score in page]
        more = {"nextPageToken": str(start + size)} if start + size < len(self.kaggle.teams) else {}
        self.json({"submissions": rows, **more})

    def _StartSubmissionUpload(self, request: dict) -> None:  # noqa: N802
        self.json({"token": "blob-token", "createUrl": f"{self.kaggle.url}/upload?signature=SECRETSIGNATURE"})

    def _CreateSubmission(self, request: dict) -> None:  # noqa: N802
        assert request["blobFileTokens"] == "blob-token"
        self.kaggle.description = request["submissionDescription"]
        self.json({"message": "Successfully submitted", "ref": self.kaggle.ref})

    def _GetSubmission(self, request: dict) -> None:  # noqa: N802
        self.kaggle.pending_polls -= 1
        done = self.kaggle.pending_polls < 0
        self.json({
            "ref": request["ref"], "status": self.kaggle.final_status if done else "PENDING",
            "publicScore": self.kaggle.public_score if done else "", "privateScore": "", "date": "2026-01-01T00:00:00Z",
            "errorDescription": "bad file" if done and self.kaggle.final_status == "ERROR" else "",
        })  # fmt: skip

    def do_PUT(self) -> None:
        self.kaggle.uploaded = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(200, b"")

    def do_GET(self) -> None:
        # The SDK follows the redirect itself and then drops that connection; only ranged or plain GETs of ours count.
        self.kaggle.ranges.append(self.headers.get("Range"))
        self.kaggle.authorization.append(self.headers.get("Authorization"))
        ours = self.headers.get("Accept-Encoding") == "identity"
        if ours and self.kaggle.storage:
            self.kaggle.storage.pop(0)(self)
        else:
            send_bundle()(self)


def send_bundle(cut: int | None = None, flip: bool = False, ignore_range: bool = False, silent: float = 0) -> Answer:
    """The storage's ordinary answer; `cut` closes after so many bytes, `silent` sends half and then sleeps."""

    def answer(handler: Handler) -> None:
        data = handler.kaggle.bundle
        etag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        headers = {
            "Content-Type": "application/zip", "ETag": etag, "Accept-Ranges": "bytes",
            "x-goog-hash": f"crc32c=AAAA,md5={md5}",
        }  # fmt: skip
        if flip:
            data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        asked = handler.headers.get("Range")
        if asked and handler.headers.get("If-Range") == etag and not ignore_range:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            handler.reply(206, data[start:], headers, cut)
        elif silent:
            handler.reply(200, data, headers, len(data) // 2)
            time.sleep(silent)
        else:
            handler.reply(200, data, headers, cut)

    return answer


def status(code: int, message: str = "no", **headers: str) -> Answer:
    return lambda handler: handler.json({"code": code, "message": message}, code, **headers)


def hidden(code: int) -> Answer:
    """An error inside a 200, as Kaggle sends them."""
    return lambda handler: handler.json({"code": code, "message": "no"}, 200)


def html(handler: Handler) -> None:
    handler.reply(200, b"<!DOCTYPE html><html>Sign in</html>", {"Content-Type": "text/html"})


def silence(seconds: float) -> Answer:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return answer


def serve(kaggle: Kaggle, of: type[Handler] = Handler) -> ThreadingHTTPServer:
    handler = type("BoundHandler", (of,), {"kaggle": kaggle})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    kaggle.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
