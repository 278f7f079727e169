"""A code competition's notebook: predicts the test files that it finds with the runs that it carries.

It runs twice: when it is saved, with the few public pictures, and with the hidden ones in their place, where nobody
sees its log. So a valid file is there from the first minute, a picture that cannot be read gets the prior, memory does
not grow with the pictures, and what the clock does not allow is decided once, for all rows alike."""

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console, schema
from kit.competition import Competition
from kit.config import Experiment
from kit.data.archives import is_archive, unpack_archive, unpacked_name
from kit.data.columns import column_values, names_of
from kit.data.layouts import Places, list_split
from kit.data.pixels import Pixels
from kit.data.places import in_downloads
from kit.data.reading import Reading
from kit.data.squares import CHUNK, read_samples
from kit.data.table import read_index, targets
from kit.errors import KitError, counted, examples
from kit.run.blending import blend_runs
from kit.run.hand_in import HandIn
from kit.run.mean import hand_in_predictions
from kit.run.member import Member, read_member
from kit.run.predicting import FoldPredictors, settle_prediction, view_set
from kit.run.run import Run
from kit.run.settling import use_threads
from kit.run.submission import images_asked_for, make_submission, read_sample, validate
from kit.runners.kaggle.cargo import TABLES
from kit.runners.kaggle.mounts import mount, unfold
from kit.runners.kaggle.notebook import FACTS, FILE, SHARE, Rerun
from kit.settings import Ensemble
from kit.stages.download import place_table
from kit.workspace import Fold, atomic_path, read_json, write_json

PILOT = 64  # pictures that are timed


@dataclass(frozen=True)
class TestSet:
    """The files that are to be predicted: a row each, and the sample submission's rows."""

    ids: list[str]
    paths: list[Path]
    sample: pd.DataFrame
    columns: pd.DataFrame  # what their table says beside the picture, as the index has it


@dataclass(frozen=True)
class Plan:
    """What is predicted of every picture: so many folds and views; `seconds` of one with all of them."""

    folds: int
    views: int
    seconds: float


def rerun(kaggle: str, cargo: str) -> pd.DataFrame:
    """Write submission.csv into the working folder; returns its table. Raises `KitError` when the notebook is saved; in
    the hidden rerun what goes wrong leaves the file as it is, which is valid."""
    began, place = time.monotonic(), Path(cargo)
    os.chdir(place)
    task = Rerun(**read_json(place / "task.json"))
    out = Path(kaggle) / "working" / FILE
    workspace = unfold(mount(Path(kaggle), "datasets", task.models, TABLES), Path(tempfile.mkdtemp()))
    runs = [Run.open(schema.build(Experiment, raw, raw["name"]), workspace) for raw in task.experiments]
    settings = schema.build(Experiment, task.blend, "blend").ensemble
    members = [read_member(run, settings.models == "full") for run in runs]
    competition = runs[0].competition
    test = find_test(competition, mount(Path(kaggle), "competitions", task.competition), workspace.raw("test"))
    guess = np.tile(_prior(members[0].oof, competition), (len(test.ids), 1))
    table = _write(competition, test, competition.scoring.decide(guess, competition.task == "labels", {}), out)
    console.stage("rerun", f"{out}: {counted(len(table), 'row')} of the prior; {len(test.ids):,} pictures to predict")
    each = 0.0
    try:
        _append_test(runs[0], test)
        table, each = _predict(members, settings, test, out, began + task.hours * 3600 * SHARE)
    except Exception as failure:
        if not os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
            raise
        console.error(f"{type(failure).__name__}: {failure}; {out} stays as it is")
    seconds = time.monotonic() - began
    write_json(out.with_name(FACTS), {"seconds": seconds, "seconds_per_image": each})
    console.stage("rerun", f"done in {console.duration(seconds)}")
    return table


def find_test(competition: Competition, source: Path, raw: Path) -> TestSet:
    """The test pictures under the mounted competition, and the rows that its sample submission asks for; those of the
    files, where the sample knows none of them. `raw`: a folder for what has to be unpacked, and the sample."""
    roles, id_column = competition.files.roles(), competition.submission.id_column
    pictures = [_unpacked(place, raw) for place in _found(source, roles["test"], "test pictures")]
    role = "test_table"
    tables = [raw / unpacked_name(one.name) for one in _found(source, roles[role], role)] if role in roles else []
    for role in ("sample_submission", "test_ids", "test_table"):
        for table in _found(source, roles[role], role) if role in roles else []:
            place_table(table, raw / unpacked_name(table.name))
    places = Places(pictures, tables)
    files = list_split(competition, "test", places)
    sample = read_sample(competition, raw, files["image_id"].tolist())
    wanted = images_asked_for(competition, sample, "the sample submission")
    path_of = dict(zip(files["image_id"], files["path"], strict=True))
    if set(wanted) - set(path_of):  # the ids are not the files' names as they stand
        with contextlib.suppress(KitError):
            listed = list_split(competition, "test", places, wanted)
            path_of |= dict(zip(listed["image_id"], listed["path"], strict=True))
    if not set(wanted) & set(path_of):
        wanted = files["image_id"].tolist()
        rows = competition.rows_of(wanted)
        sample = pd.DataFrame({id_column: rows} | dict.fromkeys(sample.columns.drop(id_column), ""))
    ids = list(dict.fromkeys(wanted))
    columns = files.drop_duplicates("image_id").set_index("image_id")[names_of(competition)].reindex(ids).fillna("")
    paths = [Path(path_of.get(name, source / "missing")) for name in ids]
    return TestSet(ids, paths, sample, columns.reset_index(drop=True))


def _unpacked(place: Path, raw: Path) -> Path:
    if not is_archive(place):
        return place
    unpack_archive(place, raw / unpacked_name(place.name))
    return raw / unpacked_name(place.name)


def _found(source: Path, accepted: Sequence[Sequence[str]], what: str) -> list[Path]:
    for names in accepted:
        places = [place for name in names if (place := in_downloads(source, name)) is not None]
        if len(places) == len(names):
            return places
    raise KitError(f"{source}: no {what}: {' or '.join(' and '.join(names) for names in accepted)}")


def _predict(
    members: Sequence[Member], settings: Ensemble, test: TestSet, out: Path, deadline: float
) -> tuple[pd.DataFrame, float]:
    """(what is handed in, seconds that a picture takes with everything)"""
    competition, anew, each = members[0].run.competition, [], 0.0
    for number, member in enumerate(members):
        member.run.refresh()
        share = (deadline - time.monotonic()) / (len(members) - number)
        made, seconds = _member(member, test, settings.models == "full", time.monotonic() + share)
        anew.append(made)
        each += seconds
    hand_in = HandIn(competition, settings, members[0].run.group_of)
    blended = blend_runs(anew, hand_in)
    handed = hand_in_predictions(anew, blended, hand_in)
    probs = handed.table[competition.predictions].to_numpy(float)
    decisions = competition.scoring.decide(probs, competition.task == "labels", handed.params)
    return _write(competition, test, decisions, out), each


def _append_test(run: Run, test: TestSet) -> None:
    """The rerun's pictures, as test rows of the index: each a group of its own."""
    path = run.workspace.index(run.competition.name)
    index = read_index(path)
    known = index[index["split"] != "test"]
    first = int(known["group"].max()) + 1
    rows = pd.DataFrame({"image_id": test.ids, "split": "test", "width": 1, "height": 1})
    rows["group"] = first + np.arange(len(rows))
    rows = rows.join(test.columns)
    table = pd.concat([known, rows], ignore_index=True)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _member(held: Member, test: TestSet, full: bool, deadline: float) -> tuple[Member, float]:
    """(the run's OOF as it is, its folds' predictions of these pictures; seconds of a picture with everything)"""
    run = held.run
    folds = [run.fold("full")] if full else [fold for fold in run.folds() if fold.files.predicted.is_file()]
    numbers = [fold.number for fold in folds]
    use_threads(run)
    data, how = run.experiment.data, Reading.of(run.competition, run.index)
    size = data.kept_size
    made = np.tile(_prior(held.oof, run.competition), (len(folds), len(test.ids), 1))
    plan, predictors = Plan(len(folds), len(view_set(run)), 0.0), None
    lost: list[str] = []
    columns = column_values(run.index, run.competition)[-len(test.ids) :] if run.column_shape is not None else None
    for start in range(0, len(test.paths), CHUNK):
        began = time.monotonic()
        pixels, problems = read_samples(test.paths[start : start + CHUNK], size, data.resize, how)
        reading = (time.monotonic() - began) / len(pixels)
        lost += [f"{test.paths[start + place].name}: {why}" for place, why in sorted(problems.items())]
        rows = np.array([place for place in range(len(pixels)) if place not in problems], np.int64)
        if not len(rows):
            continue
        if predictors is None:
            settle_prediction(run, folds[0].model(), pixels[rows], len(test.ids) * plan.folds * plan.views)
            predictors = FoldPredictors(run, folds, pixels[rows])
            plan = _pilot(run, predictors, numbers, (pixels, rows), reading, len(test.ids), deadline)
            if plan.views < len(view_set(run)):
                run.settle(replace(run.experiment, tta=replace(run.experiment.tta, views=("identity",))))
        beside = None if columns is None else columns[start : start + CHUNK]
        made[: plan.folds, start + rows] = predictors.predict(numbers[: plan.folds], rows, pixels, beside)
    if lost:
        console.warn(f"{counted(len(lost), 'picture')} cannot be read and get the prior: {examples(lost)}")
    return replace(held, test_ids=test.ids, tests=list(made[: plan.folds].astype(float))), plan.seconds


def _prior(oof: pd.DataFrame, competition: Competition) -> np.ndarray:
    """float (C,): the training targets' mean, or no class over another where there is no OOF."""
    if oof.empty:
        return np.full(competition.outputs.count, 1 / competition.outputs.count)
    seen = targets(oof, competition)
    return (np.eye(competition.outputs.count)[seen] if seen.ndim == 1 else seen).mean(axis=0)


def _pilot(
    run: Run, predictors: FoldPredictors, numbers: Sequence[Fold], shown: tuple[Pixels, np.ndarray], reading: float,
    count: int, deadline: float,
) -> Plan:  # fmt: skip
    """All folds and views where the clock allows it; else one view; else fewer folds. `shown`: pixels, and rows of them
    to try; `reading`: seconds a sample."""
    pixels, some = shown[0], shown[1][:PILOT]
    predictors.predict(numbers, some[:1], pixels)  # the first time is slower
    began = time.monotonic()
    predictors.predict(numbers, some, pixels)
    computing = (time.monotonic() - began) / len(some)
    each, left = reading + computing, deadline - time.monotonic()
    views, folds = len(view_set(run)), len(numbers)
    console.stage("rerun", f"{run.name}: {console.speed(1 / each)}, {console.duration(each * count)} to go")
    if each * count <= left:
        return Plan(folds, views, each)
    affordable = int((left / count - reading) / (computing / views / folds))
    plan = Plan(min(folds, max(1, affordable)), 1, each)
    text = f"the clock allows {counted(plan.folds, 'fold')} of {folds} and one view of {views}, for every picture alike"
    console.warn(f"{run.name}: {text}")
    return plan


def _write(competition: Competition, test: TestSet, decisions: np.ndarray, out: Path) -> pd.DataFrame:
    table = make_submission(competition, test.sample, test.ids, decisions)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
        verdict = validate(competition, test.sample, temporary)
    if verdict.errors:
        raise KitError(f"{out}: {'; '.join(verdict.errors)}")
    return table
