"""doctor: is this machine ready? Python, torch, devices, precision, disk, Kaggle. Read-only."""

import contextlib
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata

import torch

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.device.accelerator import describe_accelerators, device_name
from kit.device.measuring import speed
from kit.device.precision import Wanted
from kit.errors import KitError, reason
from kit.kaggle.client import KaggleClient
from kit.kaggle.credentials import HOW, find_credentials
from kit.kaggle.transfer import Transfer
from kit.models import build_classifier
from kit.processes import num_cores
from kit.run.run import Run
from kit.training.workload import TrainingSteps
from kit.workspace import Workspace

BATCH, SECONDS = 16, 1.0  # of a step, and to measure: the answer should come soon
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "pandas", "scikit-learn")
OPTIONAL = {  # the rest works without
    "simplejpeg": "JPEGs are decoded by Pillow, which takes twice as long",
    "kaggle": "no command can reach Kaggle",
    "cleanlab": "no `kit audit`",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; `state` is ok, note or problem."""

    name: str
    state: str
    text: str


def doctor(run: Run, offline: bool = False) -> list[Finding]:
    """Check everything, printing each line as soon as it is known; problems are findings, never exceptions."""
    findings = []
    for finding in _findings(run, offline):
        mark = {"ok": "ok", "note": "note", "problem": "PROBLEM"}[finding.state]
        console.say(f"{mark:>8}  {finding.name}: {finding.text}")
        findings.append(finding)
    return findings


def _findings(run: Run, offline: bool) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield from _packages()
    yield from _devices()
    yield _disk(run.workspace)
    yield from _kaggle(run.asked, offline)
    yield _precision(run)


def _packages() -> list[Finding]:
    there: dict[str, str] = {}
    for name in (*PACKAGES, *OPTIONAL):
        with contextlib.suppress(metadata.PackageNotFoundError):
            there[name] = metadata.version(name)
    missing = [Finding(name, "note", f"not installed: {text}") for name, text in OPTIONAL.items() if name not in there]
    return [Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in there.items())), *missing]


def _devices() -> list[Finding]:
    findings = [Finding("cpu", "ok", f"{num_cores()} cores, torch uses {torch.get_num_threads()} threads")]
    for text, usable in describe_accelerators():
        state = "problem" if not usable else "note" if text.endswith("the CPU is used") else "ok"
        findings.append(Finding("gpu", state, text))
    return findings


def _precision(run: Run) -> Finding:
    """The number format that the device computes in, and how fast the experiment's model trains."""
    trial = Run((*run.asked.members, run.asked)[0], run.workspace).trial()  # a blend's first member
    machine, model, size = trial.experiment.machine, trial.experiment.model, trial.experiment.data.image_size
    try:
        outputs = trial.competition.outputs
        random = replace(model, weights="none")
        channels = trial.competition.num_channels
        network = build_classifier(random, outputs, size, channels=channels)
        train = replace(trial.experiment.train, batch_size=min(trial.experiment.train.batch_size, BATCH))
        work = TrainingSteps(network, (size,), train, outputs.count, trial.device).workload((model.name,))
        option = Wanted(machine.precision, machine.memory_format).candidates(trial.device)[0]
        images_per_second = speed(work, option, SECONDS)
    except (KitError, RuntimeError, AssertionError, ValueError) as error:
        return Finding("precision", "problem", f"{model.name}: {reason(error)}")
    where = f"{model.name} at {size} px on {device_name(trial.device)}"
    if not images_per_second:
        lacking = "too little memory, or no such operation"
        return Finding("precision", "problem", f"{where} does not run in {option}: {lacking}")
    return Finding("precision", "ok", f"{option} for {where} (training, measured: {console.speed(images_per_second)})")


def _disk(workspace: Workspace) -> Finding:
    folder = workspace.root.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    state = "ok" if free > 10 else "problem"
    return Finding("disk", state, f"{free:,.1f} GB free at {folder}" + ("" if free > 10 else "; 10 GB are recommended"))


def _kaggle(experiment: Experiment, offline: bool) -> list[Finding]:
    try:
        competition, credentials = Competition.load(experiment.competition), find_credentials()
    except KitError as error:
        return [Finding("kaggle", "problem", str(error))]
    if credentials is None:
        missing = "no credentials (only `kit download` without --from and `kit submit` need them)"
        return [Finding("kaggle", "note", f"{missing}; {HOW}")]
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
    closed = "; it no longer accepts submissions" if facts.submissions_disabled else ""
    return [*findings, Finding(competition.slug, "ok" if facts.entered and not closed else "note", entered + closed)]
