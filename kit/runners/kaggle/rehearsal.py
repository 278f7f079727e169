"""A script or notebook run here as Kaggle would run it: its paths, its input, no network, four cores, a clock.

/kaggle is a folder of its own, whose name takes the place of /kaggle in the text. Where namespaces are allowed (root),
they take the network away and make everything read-only except /kaggle/working and the folder for temporary files; else
proxies lead nowhere, and whether the input was written to is looked at afterwards."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import console
from kit.errors import KitError, examples

CORES = 4
NOWHERE = "http://127.0.0.1:9"
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH")  # of this environment
READ_ONLY = """set -e
mount --make-rprivate /
for place in "$1" "$2"; do mount --bind "$place" "$place"; done
cd "$1"; shift 2
while [ "$1" != -- ]; do mount -o remount,ro,bind "$1"; shift; done
shift; exec "$@"
"""


@dataclass(frozen=True)
class Rehearsed:
    """`working`: what it left; `kept`: what took the network away and kept the input as it is."""

    working: Path
    seconds: float
    kept: str


class Sandbox:
    """`python`: whose packages it runs with; `minutes`: its clock; `older`: sources stand right under /kaggle/input, as
    they did in 2025, not in competitions/ and datasets/OWNER/. Also the place where datasets are put."""

    def __init__(self, place: Path, python: str | None = None, minutes: float = 60.0, older: bool = False) -> None:
        shutil.rmtree(place, ignore_errors=True)
        self.input = place / "kaggle" / "input"
        self._above = dict.fromkeys(("competitions", "datasets/me"), "") if older else {}
        self._place, self._python, self._seconds = place, python or sys.executable, minutes * 60

    def put(self, name: str, files: Sequence[Path]) -> str:
        """As `Datasets.put`, without an upload."""
        folder = self.of("datasets/me", name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.is_symlink():
                (folder / file.name).symlink_to(file.resolve(strict=True))
            else:  # it may be gone soon
                shutil.copyfile(file, folder / file.name)
        return f"me/{name}"

    def mount(self, competition: str, source: Path, inside: str = "") -> None:
        """A competition's file or folder; its whole, where `inside` is empty."""
        target = self.of("competitions", competition) / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve(strict=True))

    def of(self, kind: str, name: str) -> Path:
        """Where a source stands; `kind`: competitions or datasets/me."""
        return self.input / self._above.get(kind, kind) / name

    def run(self, text: str, hidden: bool = False) -> Rehearsed:
        """Raises `KitError` where it fails, takes too long, or writes into its input."""
        working, temporary = self._place / "kaggle" / "working", self._place / "tmp"
        for folder in (working, temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        file = self._place / "rehearsed.py"  # no name of a module that Python knows
        file.write_text(_code(text).replace('"/kaggle"', json.dumps(str(working.parent.resolve()))), "utf-8")
        words, kept = [self._python, "-u", str(file.resolve())], "proxies that lead nowhere"
        if may_unshare():
            places = [str(working.resolve()), str(temporary.resolve()), *self._mounts(), "--"]
            words = ["unshare", "--net", "--mount", "sh", "-c", READ_ONLY, "sh", *places, *words]
            kept = "namespaces"
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {"TMPDIR": str(temporary.resolve()), "HOME": str(temporary.resolve())}
        environment |= {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "http_proxy": NOWHERE, "https_proxy": NOWHERE}
        environment |= {"KAGGLE_IS_COMPETITION_RERUN": "1"} if hidden else {}
        before, began = self._seen(), time.monotonic()
        process = subprocess.Popen(
            words, cwd=working, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", preexec_fn=_four_cores if os.name == "posix" else None,
        )  # fmt: skip
        clock = threading.Timer(self._seconds, process.kill)  # it may say nothing for hours
        clock.start()
        try:
            for line in process.stdout or ():
                if line.strip():
                    console.say(f"rehearsal | {line.rstrip()}")
            process.wait()
        finally:
            clock.cancel()
            process.kill()
        if process.returncode and time.monotonic() - began >= self._seconds:
            raise KitError(f"the rehearsal took over {console.duration(self._seconds)}; --minutes gives it more")
        if process.returncode:
            raise KitError(f"{file}: failed as it would on Kaggle (exit {process.returncode}); its output is above")
        changed = [name for name, facts in self._seen().items() if before.get(name) != facts]
        if changed:
            raise KitError(f"/kaggle/input is read-only on Kaggle, and {examples(changed)} was written there")
        return Rehearsed(working, time.monotonic() - began, kept)

    def _mounts(self) -> list[str]:
        """The file systems that hold the input, and the root."""
        places = {os.path.realpath(folder) for folder, _, _ in os.walk(self.input, followlinks=True)}
        places |= {os.path.dirname(os.path.realpath(name)) for name in self._seen()}
        return sorted({"/", *(_mount_of(place) for place in places)}, reverse=True)

    def _seen(self) -> dict[str, tuple[int, int]]:
        """What the input holds, and when it changed."""
        found = {}
        for folder, _, names in os.walk(self.input, followlinks=True):
            for name in names:
                path = os.path.join(folder, name)
                facts = os.stat(path)
                found[path] = (facts.st_size, facts.st_mtime_ns)
        return found


def _code(text: str) -> str:
    """A notebook's code cells one after the other; a script as it is."""
    if not text.startswith("{"):
        return text
    return "\n\n".join(cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def _mount_of(place: str) -> str:
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return place


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "--net", "--mount", "sh", "-c", "mount --make-rprivate / && mount -o remount,ro,bind /"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _four_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
