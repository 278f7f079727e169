"""submit: validate a CSV, upload it, wait for Kaggle's score, and write both into its passport."""

import datetime
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError, examples, nearest
from kit.kaggle.calls import UnsureError
from kit.kaggle.client import KaggleClient
from kit.locks import lock
from kit.run.run import Run
from kit.run.submission import read_sample, validate
from kit.run.tracked import send_results
from kit.runners.kaggle.submitting import HandedRuns, send_notebook
from kit.workspace import Workspace, file_hash, read_json, write_json

Sends = Callable[[], Callable[[str], int]]
"""Gets a submission ready; what it returns submits it with a message, and returns Kaggle's reference."""


@dataclass(frozen=True)
class SubmitResult:
    file: Path
    num_rows: int
    uploaded: bool
    ref: int | None = None
    status: str | None = None  # PENDING, COMPLETE or ERROR
    public_score: str | None = None
    private_score: str | None = None


def submit(
    run: Run, file: Path | None = None, message: str = "", dry_run: bool = False, again: bool = False,
    anyway: bool = False, wait_minutes: float = 10.0,
) -> SubmitResult:  # fmt: skip
    """Submit `file` (default: the experiment's own submission). `dry_run` stops after validation. Refuses bytes that
    were submitted before unless `again`, and a doubtful file unless `anyway`."""
    competition, workspace = run.competition, run.workspace
    path = file or workspace.submission(run.name)
    if not path.is_file():
        there = [one.stem for one in path.parent.glob("*.csv")]
        hint = "give an existing CSV" if file else "type `kit run` or `kit ensemble` first, or name a CSV"
        hint += nearest(path.stem, there)
        raise ConfigError(f"{path}: no such file; {hint}")
    listed = not competition.files.sample_submission  # without a sample, the index says which rows are wanted
    test_ids = run.index.loc[run.index["split"] == "test", "image_id"].tolist() if listed else []
    sample = read_sample(competition, workspace.raw(competition.name), test_ids)
    verdict = validate(competition, sample, path, _reference(competition, workspace, path))
    if verdict.errors:
        raise KitError(f"{path}: {'; '.join(verdict.errors)}")
    for doubt in verdict.doubts:
        console.warn(f"{path}: {doubt}")
    console.stage("submit", f"{path}: {verdict.num_rows:,} rows, columns and ids as in the sample, values valid")
    if dry_run:
        console.stage("submit", "dry run: nothing was uploaded")
        return SubmitResult(path, verdict.num_rows, False)
    if verdict.doubts and not anyway:
        raise KitError(f"{path}: {verdict.doubts[0]}; --anyway submits it nevertheless")
    if competition.slug is None:
        advice = f"where it is, add `slug: NAME` (the last part of its address) to {competition.name}.yaml"
        raise ConfigError(f"{competition.title} is not on Kaggle: there is nowhere to submit; {advice}")
    passport_path = path.with_suffix(".json")
    if not os.access(passport_path if passport_path.is_file() else path.parent, os.W_OK):  # someone else's input folder
        passport_path = workspace.submission(f"{path.stem}-{file_hash(path)[:8]}").with_suffix(".json")
    with lock(workspace.submission("").with_name(".submit.lock"), f"{workspace.submission('').parent}"):
        passport = _passport(passport_path, competition)
        entry = None if again else _earlier(workspace, passport, file_hash(path), path)
        client = KaggleClient.connect()
        if entry is None:
            sends: Sends = partial(_send_file, client, competition.slug, path)
            if _may_submit(client, competition.slug):
                sends = partial(send_notebook, client, _handed_in(run, passport), competition)
            entry = _hand_in(competition, path, passport_path, message, sends)
    ref = int(entry["ref"])
    console.stage("submit", f"Kaggle took it (reference {ref}); waiting for the score")
    scored = client.wait_for_score(competition.slug, ref, wait_minutes * 60)
    _note(passport_path, competition, entry, asdict(scored))
    send_results(run, run.asked.machine.track)
    if scored.status == "ERROR":
        raise KitError(f"Kaggle could not score reference {ref}: {scored.error or 'no reason given'}")
    if scored.status == "PENDING":
        page = f"https://www.kaggle.com/c/{competition.slug}/submissions"
        advice = f"the same command waits on, and submits nothing; or look at {page}"
        console.warn(f"no score after {wait_minutes:g} minutes; {advice}")
    else:
        cv = _cv(passport, competition)
        beside = f", CV {cv:.5f}" if cv is not None else ""
        private = f", private {scored.private_score}" if scored.private_score else ""
        console.stage(
            "submit", f"{competition.scoring.name}: public {scored.public_score or 'not shown'}{private}{beside}"
        )
        _compare(scored.public_score, passport)
    return SubmitResult(path, verdict.num_rows, True, ref, scored.status, scored.public_score, scored.private_score)


def _earlier(workspace: Workspace, passport: dict[str, Any], digest: str, path: Path) -> dict[str, Any] | None:
    """The entry of these bytes if its score is still awaited; refuses bytes that are scored, or may have arrived."""
    passports = [passport, *(read_json(other) for other in sorted(workspace.submission("x").parent.glob("*.json")))]
    for entry in (entry for one in passports for entry in one.get("kaggle", [])):
        if entry.get("sha256") != digest or entry.get("competition") != passport["competition"]:
            continue
        if entry.get("status") == "PENDING" and entry.get("ref"):
            return entry
        state = f"reference {entry['ref']}" if entry.get("ref") else "no answer came: look at Kaggle"
        before = f"these bytes were submitted before ({state}, {entry.get('date', '')})"
        raise KitError(f"{path}: {before}; --again spends another submission on them")
    return None


def _passport(path: Path, competition: Competition) -> dict[str, Any]:
    passport = read_json(path) if path.is_file() else {"competition": competition.name, "kaggle": []}
    if passport.get("competition") != competition.name:
        raise ConfigError(f"{path}: was made for {passport.get('competition')}, not for {competition.name}")
    return passport


def _send_file(client: KaggleClient, slug: str, path: Path) -> Callable[[str], int]:
    token = client.upload(slug, path)
    return lambda message: client.hand_in(slug, token, message)


def _handed_in(run: Run, passport: dict[str, Any]) -> HandedRuns:
    """The runs that a submission is made of, by its passport."""
    members = passport.get("members", [])
    friends = [one["run"] for one in members if one.get("friend")]
    if friends:
        why = f"a notebook cannot make the predictions of {examples(friends)} anew"
        raise KitError(f"{run.competition.title} takes notebooks only, and {why}; blend runs alone")
    names = [one["run"] for one in members]
    if not names:
        raise KitError(f"{run.competition.title} takes notebooks only, and this file has no passport: `kit ensemble`")
    asked = run.asked
    if len(names) > 1 and asked.ensemble.blend == "auto" and passport.get("blend", {}).get("method"):
        asked = replace(asked, ensemble=replace(asked.ensemble, blend=passport["blend"]["method"]))
    return HandedRuns([Run.named(name, run.workspace) for name in names], asked)


def _hand_in(competition: Competition, path: Path, passport_path: Path, message: str, sends: Sends) -> dict[str, Any]:
    """Get it ready, record in the passport that it goes out, submit, record the reference: a kill leaves a trace."""
    passport, submit_it = _passport(passport_path, competition), sends()
    entry: dict[str, Any] = {
        "ref": None, "competition": competition.name, "sha256": file_hash(path), "status": "SENT",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    entries = passport.setdefault("kaggle", [])
    entries.append(entry)
    write_json(passport_path, passport)
    try:
        cv = _cv(passport, competition)
        title = path.stem if cv is None else f"{path.stem}, CV {competition.scoring.name} {cv:.5f}"
        ref = submit_it(message or title)
    except UnsureError:
        raise
    except KitError:
        entries.remove(entry)
        write_json(passport_path, passport)
        raise
    _note(passport_path, competition, entry, {"ref": ref, "status": "PENDING"})
    return entry


def _note(passport_path: Path, competition: Competition, entry: dict[str, Any], news: dict[str, Any]) -> None:
    """Update the passport as it is now: `kit ensemble` may have rewritten it meanwhile."""
    passport = _passport(passport_path, competition)
    entries = passport.setdefault("kaggle", [])
    same = [all(one.get(key) == entry[key] for key in ("sha256", "date")) for one in entries]
    entry |= news
    if any(same):
        entries[same.index(True)] = entry
    else:  # it was found in a copy's passport
        entries.append(entry)
    write_json(passport_path, passport)


def _may_submit(client: KaggleClient, slug: str) -> bool:
    """Raises `KitError` where nothing may be submitted; returns whether it has to be a notebook."""
    facts = client.competition(slug)
    if not facts.entered:
        rules = f"https://www.kaggle.com/c/{slug}/rules"
        raise KitError(f"you have not entered this competition: accept its rules at {rules}")
    if facts.submissions_disabled:
        raise KitError(f"{slug} no longer accepts submissions (deadline {facts.deadline or 'unknown'})")
    left = client.submissions_left(slug)
    console.stage("submit", f"{left} of {facts.max_daily_submissions} submissions left today")
    if left < 1:
        raise KitError("no submissions are left today: Kaggle's day begins at 00:00 UTC")
    return facts.takes_notebooks_only


def _compare(public_score: str, passport: dict[str, Any]) -> None:
    """Warn where Kaggle's score is not what was to be expected."""
    expected = (passport.get("cv") or {}).get("expected")
    if not public_score or not expected:
        return
    low, high = expected["interval"]
    score = pd.to_numeric(public_score, errors="coerce")
    if score < low or score > high:  # not where it is no number
        span = f"{low:.4f} to {high:.4f}, 95 %, of {expected['of']}"
        console.warn(f"it lies outside what was to be expected ({span}): the public test set is small, or another kind")


def _cv(passport: dict[str, Any], competition: Competition) -> float | None:
    found = (passport.get("cv") or {}).get("metrics", {}).get(competition.scoring.name, {}).get("pooled")
    return None if found is None else float(found)


def _reference(competition: Competition, workspace: Workspace, path: Path) -> pd.Series | None:
    """P(positive class) by id, from the best cross-validated submission of this competition, if it is not `path`."""
    if competition.submission.format not in {"label", "probability"} or len(competition.classes) != 2:
        return None
    found = []
    for passport_path in workspace.submission("x").parent.glob("*.json"):
        passport, table = read_json(passport_path), passport_path.with_suffix(".csv")
        cv = _cv(passport, competition) if passport.get("competition") == competition.name else None
        if cv is not None and table.is_file() and table.resolve() != path.resolve():
            found.append((competition.scoring.gain(cv), table))
    if not found:
        return None
    file = max(found)[1]
    best = read_text_csv(file, str(file)).set_index(competition.submission.id_column)
    cells = best[competition.submission.column or ""]
    if competition.submission.format == "label":
        positive = competition.classes[competition.positive_index]
        return (cells == competition.written(positive)).astype(float)
    return cells.astype(float)
