"""The loopback Kaggle's machines: kernels that really run, their outputs and logs, quota, datasets and blobs."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

from kaggle_server import Handler, Kaggle, serve

OWNER = "me"
BUSY = "Maximum batch GPU session count of 2 reached."
USED_UP = "Maximum weekly GPU quota of 30.00 hours reached."


# A clock on which every epoch takes an hour: sessions end where a test says, however fast the machine is.
CLOCK = """
import time
from pathlib import Path
real, place = time.monotonic, Path("KAGGLE")
def epochs(folder):
    files = folder.glob("runs/*/fold_*/metrics.jsonl")
    return sum(len(file.read_text().splitlines()) for file in files)
before = sum(map(epochs, place.glob("input/notebooks/*/*")))
time.monotonic = lambda: real() + 3600 * max(0, epochs(place / "working") - before)
"""


@dataclass
class Version:
    """One session: its process, what it mounted, and how long Kaggle lets it run."""

    process: subprocess.Popen
    working: Path
    log: Path
    began: float
    queued: int
    request: dict
    killed: str = ""  # why Kaggle ended it
    lost: bool = False  # with its output


@dataclass
class Cloud(Kaggle):
    folder: Path = Path()
    competitions: dict[str, Path] = field(default_factory=dict)  # slug -> its files
    kernels: dict[str, list[Version]] = field(default_factory=dict)
    pushes: list[dict] = field(default_factory=list)
    datasets: dict[str, dict] = field(default_factory=dict)  # slug -> {files, polls}
    blobs: dict[str, bytearray] = field(default_factory=dict)
    blob_names: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # an upload is cut after so many bytes
    most_sessions: int = 2
    limit: float = 600.0  # seconds of a session
    queued: int = 1  # status calls that answer QUEUED
    notebooks_only: bool = False
    used: float = 3.0  # hours
    late: int = 0  # lists of outputs that lack half of them
    page: int = 7
    log_cuts: int = 0
    odd_status: list[str] = field(default_factory=list)
    hidden: dict[str, Path] = field(default_factory=dict)  # slug -> its files when a notebook is scored
    rerun_fate: str = ""  # what Kaggle says of the hidden rerun
    reruns: list[Version] = field(default_factory=list)
    refusal: str = ""  # of a code submission
    push_refusal: str = ""
    unmountable: dict[str, list[str]] = field(default_factory=dict)  # invalidKernelSources, ...: names
    old_shape: bool = False  # errors as {"code": 403, "message": ...}
    program: str = ""  # runs in place of what was pushed
    begun: int = 0  # sessions
    extra_outputs: dict[str, bytes] = field(default_factory=dict)

    def running(self) -> list[Version]:
        return [v for versions in self.kernels.values() for v in versions if self.status(v) in {"QUEUED", "RUNNING"}]

    def status(self, version: Version) -> str:
        code = version.process.poll()
        if code is None and time.monotonic() - version.began > self.limit:
            os.killpg(version.process.pid, signal.SIGKILL)
            version.process.wait()
            version.killed, version.lost = "Your notebook tried to run longer than allowed", True
            return "ERROR"
        if version.killed:
            return "CANCEL_ACKNOWLEDGED" if version.killed == "cancelled" else "ERROR"
        if code is None:
            return "QUEUED" if version.queued > 0 else "RUNNING"
        return "COMPLETE" if code == 0 else "ERROR"

    def start(self, request: dict, hidden: bool = False) -> Version:
        """Run it; `hidden`: as a code submission's rerun."""
        slug = request["slug"].partition("/")[2]
        self.begun += 1  # a deleted kernel's folder stays
        place = self.folder / f"{slug}-{self.begun}"
        kaggle = place / "kaggle"
        working, temp = kaggle / "working", place / "tmp"
        working.mkdir(parents=True)
        temp.mkdir()
        for name in request.get("competitionDataSources", []):
            _mount((self.hidden if hidden else self.competitions)[name], kaggle / "input" / "competitions" / name)
        for source in request.get("kernelDataSources", []):
            last = self.kernels[source.partition("/")[2]][-1]
            _mount(last.working, kaggle / "input" / "notebooks" / source)
        for source in request.get("datasetDataSources", []):
            target = kaggle / "input" / "datasets" / source
            target.mkdir(parents=True)
            for name, data in self.datasets[source.partition("/")[2]]["files"].items():
                (target / name).write_bytes(data)
        file = place / "script.py"
        text = self.program.replace("SLUG", slug) or request["text"]
        if request.get("kernelType") == "notebook" and not self.program:
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            text = "\n\n".join(cell["source"] for cell in cells)
        file.write_text(text.replace('"/kaggle"', repr(str(kaggle))))
        kept = ("PATH", "LANG", "OMP_NUM_THREADS", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"TMPDIR": str(temp), "HOME": str(place), "KAGGLE_KERNEL_RUN_TYPE": "Batch"}
        (place / "sitecustomize.py").write_text(CLOCK.replace("KAGGLE", str(kaggle)))
        environment |= {"PYTHONPATH": str(place)}
        environment |= {"KAGGLE_IS_COMPETITION_RERUN": "1"} if hidden else {}
        log = place / "log"
        process = subprocess.Popen(
            [sys.executable, "-u", str(file)], cwd=working, env=environment, stdout=log.open("wb"),
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        version = Version(process, working, log, time.monotonic(), self.queued, request)
        if hidden:
            self.reruns.append(version)
        else:
            self.kernels.setdefault(slug, []).append(version)
        return version

    def stop(self) -> None:
        for version in self.running():
            os.killpg(version.process.pid, signal.SIGKILL)
            version.process.wait()


def _mount(source: Path, target: Path) -> None:
    """A copy, read-only."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


class CloudHandler(Handler):
    kaggle: Cloud

    def _IntrospectToken(self, request: dict) -> None:  # noqa: N802
        self.json({"active": True, "username": OWNER})

    def _SaveKernel(self, request: dict) -> None:  # noqa: N802
        cloud, slug = self.kaggle, request["slug"].partition("/")[2]
        assert request["newTitle"].lower().replace(" ", "-") == slug, "the address comes from the title"
        assert len(request["text"]) < 1_000_000
        cloud.pushes.append(request)
        if cloud.used >= 30 or cloud.push_refusal:
            self.json({"error": cloud.push_refusal or USED_UP})
            return
        if len(cloud.running()) >= cloud.most_sessions:
            self.json({"error": BUSY})
            return
        wrong = [name for name in request.get("competitionDataSources", []) if name not in cloud.competitions]
        unready = [
            name
            for name in request.get("datasetDataSources", [])
            if cloud.datasets.get(name.partition("/")[2], {"polls": 1})["polls"] > 0
        ]
        for names, key in ((wrong, "competitionDataSources"), (unready, "datasetDataSources")):
            request[key] = [name for name in request.get(key, []) if name not in names]
        cloud.start(request)
        if cloud.failures.get("answer of SaveKernel"):  # taken, and never answered
            cloud.failures["answer of SaveKernel"].pop(0)(self)
            return
        self.json({
            "ref": f"/code/{OWNER}/{slug}", "url": f"https://www.kaggle.com/code/{OWNER}/{slug}",
            "versionNumber": len(cloud.kernels[slug]), "invalidCompetitionSources": wrong,
            "invalidDatasetSources": unready, **cloud.unmountable,
        })  # fmt: skip

    def _version(self, request: dict) -> Version | None:
        versions = self.kaggle.kernels.get(request["kernelSlug"])
        label = request.get("versionLabel", "v1")
        if not versions or request["userName"] != OWNER or not re.fullmatch(r"v\d+", label):
            self.json({"error": {"code": 404, "message": "Not found", "status": "NOT_FOUND"}}, 404)
            return None
        return versions[int(label[1:]) - 1]

    def _GetKernel(self, request: dict) -> None:  # noqa: N802
        if self._version(request) is not None:
            number = len(self.kaggle.kernels[request["kernelSlug"]])
            self.json({"metadata": {"ref": f"{OWNER}/{request['kernelSlug']}", "currentVersionNumber": number}})

    def _GetKernelSessionStatus(self, request: dict) -> None:  # noqa: N802
        version = self._version(request)
        if version is None:
            return
        version.queued -= 1
        if self.kaggle.odd_status:
            self.json({"status": self.kaggle.odd_status.pop(0)})
            return
        self.json({"status": self.kaggle.status(version), "failureMessage": version.killed})

    def _ListKernelSessionOutput(self, request: dict) -> None:  # noqa: N802
        version = self._version(request)
        if version is None:
            return
        paths = [] if version.lost else sorted(path for path in version.working.rglob("*") if path.is_file())
        names = [path.relative_to(version.working).as_posix() for path in paths if not path.name.startswith(".")]
        names += self.kaggle.extra_outputs
        if self.kaggle.late > 0:
            self.kaggle.late -= 1
            names = names[::2]
        start = int(request.get("pageToken") or 0)
        slug, label = request["kernelSlug"], request.get("versionLabel", "v1")
        address = f"{self.kaggle.url}/output/{slug}/{label}"
        shown = [{"fileName": name, "url": f"{address}/{name}?sig=SECRETSIGNATURE"} for name in names]
        more = {"nextPageToken": str(start + self.kaggle.page)} if start + self.kaggle.page < len(shown) else {}
        self.json({"files": shown[start : start + self.kaggle.page], **more})

    def _GetAcceleratorQuotaStatistics(self, request: dict) -> None:  # noqa: N802
        reserved = 12 * len(self.kaggle.running())
        quota = {"timeUsed": f"{self.kaggle.used * 3600:.0f}s", "timeReserved": f"{reserved * 3600}s"}
        self.json({
            "quotaRefreshTime": "2026-11-28T00:00:00Z", "gpuQuota": {**quota, "totalTimeAllowed": "108000s"},
        })  # fmt: skip

    def _ListKernels(self, request: dict) -> None:  # noqa: N802
        slugs = [slug for slug in self.kaggle.kernels if request.get("search", "") in slug]
        self.json({"kernels": [{"ref": f"{OWNER}/{slug}"} for slug in reversed(slugs)]})

    def _DeleteKernel(self, request: dict) -> None:  # noqa: N802
        for version in self.kaggle.kernels.pop(request["kernelSlug"]):
            if version.process.poll() is None:
                os.killpg(version.process.pid, signal.SIGKILL)
        self.json({})

    def _CreateCodeSubmission(self, request: dict) -> None:  # noqa: N802
        """As strict as KERNELS.md has it."""
        versions = self.kaggle.kernels.get(request["kernelSlug"], [])
        version = versions[request["kernelVersion"] - 1]
        asked, why = version.request, self.kaggle.refusal
        if asked.get("enableInternet", True):
            why = "Your Notebook cannot use internet access in this competition."
        elif request["competitionName"] not in asked.get("competitionDataSources", []):
            why = "Your Notebook must include this competition as a data source."
        elif request["fileName"] != "submission.csv":
            why = 'Submission files must be named "submission.csv"'
        elif not (version.working / "submission.csv").is_file():
            why = "cannot find submission.csv"
        if why:
            error = {"code": 400, "message": f"Submission not allowed: {why}", "status": "FAILED_PRECONDITION"}
            self.json({"code": 400, "message": why} if self.kaggle.old_shape else {"error": error}, 400)
            return
        self.kaggle.description = request["submissionDescription"]
        self.kaggle.start(asked, hidden=True)
        self.json({"message": "Successfully submitted", "ref": self.kaggle.ref})

    def _GetSubmission(self, request: dict) -> None:  # noqa: N802
        if not self.kaggle.reruns:
            super()._GetSubmission(request)
            return
        if self.kaggle.pending_polls > 0:  # a new reference is not known at once
            self.kaggle.pending_polls -= 1
            self.json({"error": {"code": 404, "message": "Not found"}}, 404)
            return
        rerun, fate = self.kaggle.reruns[-1], self.kaggle.rerun_fate
        code = rerun.process.poll()
        if code is not None and not fate:
            found = (rerun.working / "submission.csv").is_file()
            fate = "Notebook Threw Exception" if code else "" if found else "Submission CSV Not Found"
        status = "PENDING" if code is None else "COMPLETE"
        score = self.kaggle.public_score if code == 0 and not fate else ""
        self.json({
            "ref": request["ref"], "status": status, "publicScore": score, "privateScore": "",
            "date": "2026-01-01T00:00:00Z", "errorDescription": fate if code is not None else "",
        })  # fmt: skip

    def _StartBlobUpload(self, request: dict) -> None:  # noqa: N802
        token = f"blob{len(self.kaggle.blobs)}"
        self.kaggle.blobs[token], self.kaggle.blob_names[token] = bytearray(), request["name"]
        self.json({"token": token, "createUrl": f"{self.kaggle.url}/blob/{token}?sig=SECRETSIGNATURE"})

    def _CreateDataset(self, request: dict) -> None:  # noqa: N802
        tokens = [one["token"] for one in request["files"]]
        files = {self.kaggle.blob_names[token]: bytes(self.kaggle.blobs[token]) for token in tokens}
        assert request["isPrivate"]
        assert 6 <= len(request["slug"]) <= 50
        self.kaggle.datasets[request["slug"]] = {"files": files, "polls": 2}
        self.json({"ref": f"{OWNER}/{request['slug']}", "status": "ok"})

    def _GetDatasetStatus(self, request: dict) -> None:  # noqa: N802
        found = self.kaggle.datasets.get(request["datasetSlug"])
        if found is None:
            self.json({"error": {"code": 404, "message": "Not found"}}, 404)
            return
        found["polls"] -= 1
        self.json({"status": "READY" if found["polls"] <= 0 else "BLOBS_RECEIVED"})

    def do_PUT(self) -> None:  # noqa: N802
        if not self.path.startswith("/blob/"):
            super().do_PUT()
            return
        assert self.headers.get("Authorization") is None, "a signed address takes no credentials"
        held = self.kaggle.blobs[urlparse(self.path).path.rpartition("/")[2]]
        span = self.headers.get("Content-Range", "")
        length = int(self.headers.get("Content-Length", 0))
        if span.startswith("bytes */"):
            self.rfile.read(length)
            last = {"Range": f"bytes=0-{len(held) - 1}"} if held else {}
            self.reply(308, b"", last)
            return
        if self.kaggle.cuts:
            held += self.rfile.read(self.kaggle.cuts.pop(0))
            self.close_connection = True
            self.connection.close()
            return
        held += self.rfile.read(length)
        self.reply(200, b"{}")

    def do_GET(self) -> None:  # noqa: N802
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        if parts[0] == "output":
            assert self.headers.get("Authorization") is None, "a signed address takes no credentials"
            version = self.kaggle.kernels[parts[1]][int(parts[2][1:]) - 1]
            name = "/".join(parts[3:])
            data = self.kaggle.extra_outputs.get(name) or (version.working / name).read_bytes()
            self.reply(200, data, {"Content-Type": "application/octet-stream", "ETag": '"x"'})
        elif parts[-5:-2] == ["kernels", "logs", "stream"]:
            label = parse_qs(urlparse(self.path).query)["versionLabel"][0]
            with contextlib.suppress(ConnectionError):  # the reader went away
                self._send_log(self.kaggle.kernels[parts[-1]][int(label[1:]) - 1])
        else:
            super().do_GET()

    def _send_log(self, version: Version) -> None:
        """Records that are no lines, from the start; cut once in a while."""
        if version.process.poll() is not None:
            text = version.log.read_text(errors="replace")
            self.json([{"stream_name": "stdout", "time": 0.1, "data": text}])
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection, sent = True, 0
        cut = self.kaggle.log_cuts > 0
        self.kaggle.log_cuts -= 1
        while True:
            ended = version.process.poll() is not None
            text = version.log.read_text(errors="replace")
            for start in range(sent, len(text), 50):
                record = {"stream_name": "stdout", "time": 0.1, "data": text[start : start + 50]}
                self.wfile.write(f"data: {json.dumps(record)}\n\n".encode())
            self.wfile.flush()
            sent = len(text)
            if ended or (cut and sent > 200):
                if ended:
                    self.wfile.write(b"data: END_OF_LOG\n\n")
                return
            time.sleep(0.05)


def serve_cloud(cloud: Cloud) -> ThreadingHTTPServer:
    return serve(cloud, CloudHandler)
