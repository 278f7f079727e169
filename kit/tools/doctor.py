"""doctor: is this machine ready? Python, torch, devices, precision, disk, Kaggle. Reads only."""

import platform
import shutil
from dataclasses import dataclass
from importlib import metadata

import torch

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.errors import KitError, reason
from kit.kaggle.client import KaggleClient
from kit.kaggle.credentials import HOW, find_credentials
from kit.kaggle.transfer import Transfer
from kit.machine import candidates, choose, default_device, num_cores, runs_on
from kit.models import build_classifier
from kit.training.probe import probe
from kit.workspace import Workspace

BATCH = 16  # images a step when measuring: the answer should come soon
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "pandas", "scikit-learn", "kaggle", "six")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `state` is ok, note or problem."""

    name: str
    state: str
    text: str


def run(experiment: Experiment, workspace: Workspace, offline: bool = False) -> list[Finding]:
    """Look at everything; problems are findings, never exceptions."""
    findings = [_python(), *_packages(), *_devices(), _precision(experiment), _disk(workspace)]
    findings += _kaggle(experiment, offline)
    for finding in findings:
        mark = {"ok": "ok", "note": "note", "problem": "PROBLEM"}[finding.state]
        console.say(f"{mark:>8}  {finding.name}: {finding.text}")
    return findings


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> list[Finding]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    findings = [Finding("packages", "ok", ", ".join(found))]
    if missing:
        findings.append(
            Finding("packages", "problem", f"missing: {', '.join(missing)}; pip install -r requirements.txt")
        )
    return findings


def _devices() -> list[Finding]:
    findings = [Finding("cpu", "ok", f"{num_cores()} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.version.cuda is None:
        return [*findings, Finding("gpu", "note", "this torch is built without CUDA: the CPU is used")]
    if not torch.cuda.is_available():
        return [
            *findings,
            Finding("gpu", "note", f"none usable (torch is built for CUDA {torch.version.cuda}): the CPU is used"),
        ]
    for number in range(torch.cuda.device_count()):
        findings.append(_gpu(number))
    return findings


def _gpu(number: int) -> Finding:
    properties = torch.cuda.get_device_properties(number)
    capability, built = (properties.major, properties.minor), torch.cuda.get_arch_list()
    gigabytes = properties.total_memory / 2**30
    text = f"{properties.name}, {gigabytes:.0f} GiB, compute capability {properties.major}.{properties.minor}"
    if not runs_on(capability, built):
        missing = f"this torch build has no code for it (only for {', '.join(built)}): install a build that does"
        return Finding(f"gpu {number}", "problem", f"{text}; {missing}")
    return Finding(f"gpu {number}", "ok", text)


def _precision(experiment: Experiment) -> Finding:
    device, train, size = default_device(), experiment.train, experiment.data.image_size
    try:
        num_classes = Competition.load(experiment.competition).num_outputs
        model = build_classifier(experiment.model.name, num_classes, experiment.model.options, image_size=size)
        options = candidates(device, train.precision, train.memory_format)
        best = choose(probe(model, options, size, min(train.batch_size, BATCH), num_classes, device))
    except (KitError, RuntimeError, AssertionError, ValueError) as error:
        return Finding("precision", "problem", f"{experiment.model.name}: {reason(error)}")
    text = f"{best.precision} for {experiment.model.name} at {size} px"
    return Finding(
        "precision", "ok", f"{text} ({best.images_per_second:,.0f} training images/s measured on {device.type})"
    )


def _disk(workspace: Workspace) -> Finding:
    folder = workspace.root.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    state = "ok" if free > 10 else "problem"
    return Finding("disk", state, f"{free:,.1f} GB free at {folder}" + ("" if free > 10 else "; 10 GB are comfortable"))


def _kaggle(experiment: Experiment, offline: bool) -> list[Finding]:
    try:
        competition, credentials = Competition.load(experiment.competition), find_credentials()
    except KitError as error:
        return [Finding("kaggle", "problem", str(error))]
    if credentials is None:
        return [
            Finding(
                "kaggle",
                "note",
                f"no credentials (only `kit download` without --from and `kit submit` need them); {HOW}",
            )
        ]
    name = f" of {credentials.username}" if credentials.username else ""
    findings = [Finding("kaggle", "ok", f"credentials from {credentials.source}{name}")]
    if competition.slug is None or offline:
        return findings
    try:
        facts = KaggleClient.connect(Transfer(silence_seconds=10), attempts=1).competition(competition.slug)
    except KitError as error:
        return [*findings, Finding(competition.slug, "problem", str(error))]
    rules = f"https://www.kaggle.com/c/{competition.slug}/rules"
    entered = "entered" if facts.entered else f"not entered: accept the rules at {rules}"
    closed = "; it takes no submissions any more" if facts.submissions_disabled else ""
    return [*findings, Finding(competition.slug, "ok" if facts.entered and not closed else "note", entered + closed)]
