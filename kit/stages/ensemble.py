"""ensemble: the folds of one or more runs -> `runs/<name>/oof.csv`, `test.csv`, `cv.json`, a validated submission."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import console
from kit.about import VERSION
from kit.competition import NAME_PATTERN, NAME_WORDS
from kit.data.rows import write_rows
from kit.data.table import labelled_test, predictions, targets
from kit.errors import ConfigError, KitError, counted, examples
from kit.run.blending import BlendedRuns, blend_runs
from kit.run.cv import cross_validation, on_other_folds, on_untouched, show_cross_validation
from kit.run.drawing import draw_reliability
from kit.run.expectation import expect_score
from kit.run.files import RunFiles
from kit.run.friend import read_friend
from kit.run.hand_in import HandIn, clip_of
from kit.run.mean import HandedIn, hand_in_predictions, show_mean
from kit.run.member import Member, read_member, require_same_test, searched_folds
from kit.run.run import Run
from kit.run.submission import make_submission, read_sample, validate
from kit.run.tracked import send_results
from kit.scoring.bootstrap import bootstrap_interval
from kit.scoring.postprocess import Postprocess
from kit.scoring.truth import Truth
from kit.settings import Ensemble
from kit.workspace import atomic_path, file_hash, read_json, write_json


@dataclass(frozen=True)
class EnsembleResult:
    submission: Path | None  # `None` where there are no test images
    passport: Path | None
    metric: str
    cv: float | None  # pooled over all OOF; `None` where only a `full` model was submitted
    num_rows: int
    test_scores: dict[str, float]  # of a competition whose test labels are public, else empty


def ensemble(
    runs: Sequence[Run], name: str | None = None, settings: Ensemble | None = None, friends: Sequence[str] = ()
) -> EnsembleResult:
    """Mean over folds, then a blend of runs as `settings` asks (default: the first run's own); write the submission.
    `name`: the submission's; default: the run's, or the first one's with `-blend`. `friends`: others' predictions as
    NAME=OOF.csv,TEST.csv. The file is validated before it gets its final name."""
    first = runs[0]
    name = _name(runs, friends, name)
    hand_in = HandIn(first.competition, settings or first.experiment.ensemble, first.group_of)
    full = hand_in.settings.models == "full"
    for run in runs:
        if run.competition.name != first.competition.name:
            raise ConfigError(f"run {run.name} is for {run.competition.name}, not {first.competition.name}")
    members = [read_member(run, full) for run in runs]
    if friends and members[0].oof.empty:
        raise ConfigError("--with: a blend is weighted on OOF, and a model trained on all data alone has none")
    members += [read_friend(given, members[0]) for given in friends]
    _require_own_names(members)
    blended = blend_runs(members, hand_in)
    scored, files = blended.scored, RunFiles(first.workspace.run(name))
    post = scored.post
    require_same_test(members)
    handed = hand_in_predictions(members, blended, hand_in)
    show_mean(handed)
    cv = None
    if len(scored.oof):
        cv = cross_validation(scored, first.competition) | {"untouched": on_untouched(scored, members)}
        cv["other_folds"] = on_other_folds(scored, members)
        show_cross_validation(members, cv, hand_in)
        _report_postprocess(post, first.competition.scoring.name)
        begun = {run.name: [fold for fold in run.folds() if fold.files.started.is_file()] for run in runs}
        cv["machine"] = {name: {fold.title: str(fold.computing) for fold in each} for name, each in begun.items()}
        if len(handed.table):
            cv["expected"] = _expected(members, blended, hand_in, handed)
        if full:
            console.warn("this CV is of the fold models; the submission is from the model trained on all data")
        write_rows(scored.oof, files.oof)
        write_json(files.cv, cv)
        draw_reliability(name, scored, files.figure("reliability"))
    else:
        console.warn("a model trained on all data has no CV")
    metric = first.competition.scoring.name
    pooled = cv["metrics"][metric]["pooled"] if cv else None
    if not len(handed.table):
        console.warn(f"{first.competition.name} has no test images: a CV, and no submission")
        return EnsembleResult(None, None, metric, pooled, 0, {})
    write_rows(handed.plain, files.test)
    test_scores = _score_test(first, handed)
    path, num_rows = _write_submission(first, name, handed)
    facts = {"cv": cv, "postprocess": _describe_postprocess(post), "mean": handed.facts(), "test": test_scores}
    passport = path.with_suffix(".json")
    write_json(passport, _passport(path, members, blended, passport) | facts)
    console.stage("ensemble", f"{path}: {counted(num_rows, 'row')}, valid")
    if name == first.name:
        send_results(first, first.asked.machine.track)
    return EnsembleResult(path, passport, metric, pooled, num_rows, test_scores)


def _expected(members: list[Member], blended: BlendedRuns, hand_in: HandIn, handed: HandedIn) -> dict[str, Any] | None:
    """Judged by the folds that no search has looked at; `None` where it looked at all of them."""
    run, scored = members[0].run, blended.scored
    searched = set().union(*(searched_folds(member.run) for member in members))
    if not searched:
        return expect_score(run, scored, handed)
    rows = ~scored.oof["fold"].isin(searched)
    if not rows.any():
        console.warn("all folds chose the experiment (kit search): no score can be expected from their OOF")
        return None
    others = replace(blended, scored=hand_in.scored(scored.oof[rows].reset_index(drop=True)))
    return expect_score(run, others.scored, hand_in_predictions(members, others, hand_in))


def _require_own_names(members: Sequence[Member]) -> None:
    names = [member.name for member in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two members of the blend are called {twice}: --with ANOTHER=OOF.csv,TEST.csv")


def _name(runs: Sequence[Run], friends: Sequence[str], name: str | None) -> str:
    """The submission's name. Raises `ConfigError` where it is not valid, or is another run's."""
    names = [*(run.name for run in runs), *friends]
    name = name or (names[0] if len(names) == 1 else f"{names[0]}-blend")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"--name {name}: expected {NAME_WORDS}")
    if names != [name] and RunFiles(runs[0].workspace.run(name)).experiment.is_file():
        raise ConfigError(f"--name {name}: is already a run's name; this submission needs its own")
    return name


def _write_submission(run: Run, name: str, handed: HandedIn) -> tuple[Path, int]:
    """(submissions/<name>.csv, its rows); raises `KitError` where it would not be valid, and keeps what was there."""
    competition, test = run.competition, handed.table
    ids, labels = test["image_id"].tolist(), competition.task == "labels"
    decisions = competition.scoring.decide(predictions(test, competition), labels, handed.params)
    sample = read_sample(competition, run.workspace.raw(competition.name), ids)
    table = make_submission(competition, sample, ids, decisions)
    path = run.workspace.submission(name)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
        verdict = validate(competition, sample, temporary)
        if verdict.errors:
            raise KitError(f"{path}: {'; '.join(verdict.errors)}")
    for doubt in verdict.doubts:
        console.warn(f"{path}: {doubt}")
    return path, len(table)


def _report_postprocess(post: Postprocess, metric: str) -> None:
    if post.difference is None or post.after is None:
        return
    interval = "{:+.4f} to {:+.4f}".format(*post.difference.interval)
    text = f"{metric} {post.before:.4f} -> {post.after:.4f} (cross-fitted; difference {interval}): "
    values = ", ".join(f"{key} {_short(value)}" for key, value in post.params.items())
    console.stage("ensemble", f"postprocessing {text}{'kept, ' + values if post.kept else 'no certain gain, left out'}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + examples((f"{one:.3g}" for one in value), 6) + "]"
    return f"{value:.4g}"


def _describe_postprocess(post: Postprocess) -> dict[str, Any]:
    interval = list(post.difference.interval) if post.difference else None
    facts = {"before": post.before, "after": post.after, "difference": interval} if post.after is not None else {}
    return {"params": post.params, "kept": post.kept, **facts}


def _score_test(run: Run, handed: HandedIn) -> dict[str, float]:
    """Every metric on the test images whose target is known."""
    competition, known = run.competition, run.index[labelled_test(run.index)]
    if known.empty:
        return {}
    joined = known.merge(handed.table, on="image_id", how="left")
    new = joined.loc[joined[competition.predictions[0]].isna(), "image_id"]
    if len(new):
        raise KitError(f"{len(new):,} test images came after `kit predict` ({examples(new)}); type `kit predict` again")
    truth, probs = Truth(competition.scoring, targets(known, competition)), predictions(joined, competition)
    scores, rows = {}, []
    for metric in competition.shown:
        params = handed.params if metric.name == competition.scoring.name else clip_of(handed.params)
        decided = metric.decide_for(truth.targets, probs, params)
        scores[metric.name] = metric.measure(truth.targets, decided)
        interval = "{:.4f} to {:.4f}".format(*bootstrap_interval(truth.by(metric), decided))
        rows.append([metric.name, f"{scores[metric.name]:.4f}", interval])
    title = f"Test set: {len(known):,} images with known labels, never trained on"
    console.table(title, ["metric", "score", "95 % interval"], rows)
    return scores


def _passport(path: Path, members: list[Member], blended: BlendedRuns, previous: Path) -> dict[str, Any]:
    history = read_json(previous).get("kaggle", []) if previous.is_file() else []
    facts, recipe = [], blended.recipe
    for member, worth in zip(members, blended.facts, strict=True):
        inputs = {f"{file.parent.name}/{file.name}": file_hash(file) for file in member.files}
        friend = {"friend": True} if member.by_friend else {}
        facts.append({**worth, **friend, "models": len(member.tests), "inputs": inputs})
    return {
        "competition": members[0].run.competition.name, "kit": VERSION, "sha256": file_hash(path),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "average": recipe.average, "blend": {"method": recipe.method, "bias": list(recipe.bias)},
        "members": facts, "kaggle": history,
    }  # fmt: skip
