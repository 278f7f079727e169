"""simplejpeg for a notebook without internet, so that its pictures are decoded as those that the run learned from."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kit import console
from kit.errors import reason
from kit.run.frozen import decoder_of
from kit.run.run import Run

NAME = "simplejpeg"
PYTHONS = ("3.11", "3.12", "3.13")  # Kaggle's, and those beside it
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
INSTALL = """\
import glob
import subprocess

mine = "/*-cp%d%d-*.whl" % sys.version_info[:2]
wheels = [name for source in {places} for name in glob.glob(KAGGLE + "/input/" + source + mine)]
if wheels:  # the decoder of the pictures that the models learned from
    own = os.path.join(place, "wheels")
    words = ["--no-index", "--no-deps", "--quiet", "--target", own, "--find-links", os.path.dirname(wheels[0])]
    subprocess.run([sys.executable, "-m", "pip", "install", *words, "simplejpeg"], check=False)
    sys.path.insert(0, own)
    os.environ["PYTHONPATH"] = os.pathsep.join([own, os.environ["PYTHONPATH"]])
"""


def wheels_for(runs: Sequence[Run], folder: Path) -> list[Path]:
    """The wheels in `folder`, downloaded where they are not there yet; none where nothing needs them. Without a network
    it is said that Pillow decodes there."""
    needed = any(decoder_of(run.files.environment) == NAME and (run.index["format"] == "JPEG").any() for run in runs)
    if not needed:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version(NAME) if _is_installed() else None
    there = []
    for python in PYTHONS:
        tag = f"cp{python.replace('.', '')}"
        pattern = f"{NAME}-{version or '*'}-{tag}-*.whl"
        if not list(folder.glob(pattern)) and (why := _download(python, version, folder)):
            console.warn(f"{NAME} for Python {python} does not come ({why}): Pillow decodes there, to other pixels")
        there += sorted(folder.glob(pattern))[-1:]
    return there


def _is_installed() -> bool:
    try:
        importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _download(python: str, version: str | None, folder: Path) -> str:
    """Why it failed; empty where it did not."""
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    words = [
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "--disable-pip-version-check",
        "-d",
        str(folder),
    ]
    asked = f"{NAME}=={version}" if version else NAME
    command = [sys.executable, "-m", "pip", *words, "--python-version", python, *platforms, asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return reason(error)
    return (
        ""
        if done.returncode == 0
        else (done.stderr.strip().splitlines() or ["pip failed"])[-1].removeprefix("ERROR: ")[:200]
    )
