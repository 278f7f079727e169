"""report: one self-contained HTML page for a run: scores, figures, suspects to mark. Only this file uses Jinja2."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.corrections import ACTIONS, read_corrections
from kit.data.reading import as_rgb
from kit.errors import ConfigError, nearest
from kit.run.files import RunFiles
from kit.run.run import Run
from kit.workspace import Workspace, expanded, read_json, write_text

TEMPLATE = Path(__file__).with_name("report.html")
MOST_SUSPECTS = 300
LABELS = {
    "curves": "Learning curves", "penalties": "Heads by penalty", "reliability": "Reliability",
    "confusion": "Confusion", "labels": "Labels", "predicted": "Predicted against true", "worst_errors": "Worst errors",
}  # fmt: skip


@dataclass(frozen=True)
class ReportResult:
    path: Path
    num_suspects: int  # shown


def report(workspace: Workspace, name: str) -> ReportResult:
    """Write runs/NAME/report.html from what the folder of a run or a blend holds; it opens offline."""
    files = RunFiles(workspace.run(name))
    passport_file = workspace.submission(name).with_suffix(".json")
    passport = read_json(passport_file) if passport_file.is_file() else {}
    is_run = files.experiment.is_file()
    if not is_run and not (files.cv.is_file() and "competition" in passport):
        there = sorted(path.name for path in files.folder.parent.glob("*") if path.is_dir())
        raise ConfigError(f"{files.folder}: no such run or blend{nearest(name, there)}")
    run = Run.named(name, workspace) if is_run else None
    cv = read_json(files.cv) if files.cv.is_file() else {}
    competition = run.competition if run else Competition.load(passport["competition"])
    suspects, kept, total = _suspects(run) if run else ([], [], 0)
    named = {path.stem: _encoded(path.read_bytes()) for path in _figures(files.figures)}
    shown = [{"anchor": name, "label": LABELS.get(name, name), "data": data} for name, data in named.items()]
    metrics = cv.get("metrics", {})
    scores = [one["public_score"] for one in passport.get("kaggle", []) if one.get("public_score")]
    members = [one for one in passport.get("members", []) if "without" in one]
    sections = [("score", "Score")] + ([("members", "Members")] if members else [])
    sections += [(one["anchor"], one["label"]) for one in shown] + ([("suspects", "Suspects")] if suspects else [])
    can_relabel = competition.task in {"classes", "ordinal"}
    page = _template().render(
        name=name, title=competition.title, made=str(passport.get("made", ""))[:16].replace("T", " "),
        experiment_hash=run.hash if run else "of several runs", sections=[*sections, ("settings", "Settings")],
        metric=competition.scoring.name, cv=metrics.get(competition.scoring.name), expected=cv.get("expected"),
        metrics={key: row for key, row in metrics.items() if row["pooled"] is not None},
        num_folds=max((len(row["folds"]) for row in metrics.values()), default=0),
        lb=float(scores[-1]) if scores else None, members=members, figures=shown,
        blend_method=passport.get("blend", {}).get("method", ""), suspects=suspects, num_suspects=total, kept=kept,
        actions=[action for action in ACTIONS if action != "relabel" or can_relabel], can_relabel=can_relabel,
        classes=competition.classes,
        settings=files.experiment.read_text("utf-8") if run else json.dumps(passport, indent=2),
        environment=files.environment.read_text("utf-8") if files.environment.is_file() else "",
    )  # fmt: skip
    write_text(files.report, page)
    console.stage("runs", f"{files.report} ({len(page) / 1e6:.1f} MB); open it in a browser")
    return ReportResult(files.report, len(suspects))


def _template() -> jinja2.Template:
    surroundings = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    surroundings.filters["figure"] = lambda value: "" if value is None else f"{value:.4f}"  # NaN is null in JSON
    return surroundings.from_string(TEMPLATE.read_text("utf-8"))


def _figures(figures: Path) -> list[Path]:
    """The run's figures, in order of interest; the suspects are on the page one by one."""
    order = list(LABELS)
    found = [path for path in figures.glob("*.png") if path.stem != "suspects"]
    return sorted(found, key=lambda path: (order.index(path.stem) if path.stem in order else len(order), path.stem))


def _suspects(run: Run) -> tuple[list[dict[str, Any]], list[list[str]], int]:
    """(the worst suspects with pictures and an earlier corrections.csv's verdicts, its other rows, how many)"""
    if not run.files.suspects.is_file():
        return [], [], 0
    text = dict.fromkeys(("image_id", "target", "suggested"), str)
    table = pd.read_csv(run.files.suspects, dtype=text, keep_default_na=False)
    earlier: dict[str, tuple[str, str]] = {}
    if run.experiment.data.corrections is not None:
        old = read_corrections(expanded(run.experiment.data.corrections))
        facts = zip(old["image_id"], old["action"], old["target"], strict=True)
        earlier = {str(image_id): (str(action), str(target)) for image_id, action, target in facts}
    row_of, pixels = run.samples.row_of(), run.samples.pixels
    shown = table.head(MOST_SUSPECTS)
    suspects = []
    for number, row in enumerate(shown.itertuples()):
        action, target = earlier.get(str(row.image_id), ("", ""))
        one = {key: getattr(row, key) for key in ("image_id", "target", "suggested", "score", "reason")}
        more = {"number": number, "action": action, "choice": target or row.suggested}
        suspects.append(one | more | {"data": _picture(pixels[row_of[str(row.image_id)]])})
    ids = set(shown["image_id"])
    kept = [[image_id, *rest] for image_id, rest in earlier.items() if image_id not in ids]
    return suspects, kept, len(table)


def _picture(rgb: np.ndarray) -> str:
    jpeg = cv2.imencode(".jpg", as_rgb(np.asarray(rgb))[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return _encoded(jpeg.tobytes())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
