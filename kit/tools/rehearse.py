"""kaggle rehearse: what would be pushed, run here as Kaggle would run it, before it costs quota or a submission."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.archives import unpacked_name
from kit.data.places import in_downloads
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError, counted
from kit.run.hand_in import HandIn
from kit.run.run import Run
from kit.run.submission import value_columns
from kit.runners.kaggle import Sessions
from kit.runners.kaggle.manifest import NAME, Manifest, is_done
from kit.runners.kaggle.notebook import FILE, notebook
from kit.runners.kaggle.rehearsal import Rehearsed, Sandbox
from kit.runners.kaggle.submitting import HandedRuns, rerun_of
from kit.stages.download import download
from kit.workspace import Fold

SAME = 0.98  # of the answers, at least, or all but one


@dataclass(frozen=True)
class RehearsalResult:
    what: str  # session or notebook
    seconds: float
    agreement: float | None = None  # with OOF, of a fold's pictures in place of the test set


def rehearse(
    run: Run, folds: Sequence[Fold], source: Path | None = None, python: str | None = None, minutes: float = 60.0
) -> RehearsalResult:
    """The notebook, where all folds are trained and predicted here, else the first session's script. `source`: the
    competition's files, default what was downloaded; `python`: an interpreter with Kaggle's packages."""
    runs = [Run.open(member, run.workspace) for member in run.asked.members] or [run]
    if python is not None and shutil.which(python) is None:
        raise ConfigError(
            f"--python {python}: no such program; give the python of an environment with Kaggle's packages"
        )
    competition, files = run.competition, run.workspace.raw(run.competition.name)
    download(run, source)
    if source is not None and _has_all(source, competition):  # as Kaggle serves them
        files = source
    place = run.workspace.root / "kaggle" / f"rehearsal-{run.name}"
    box = Sandbox(place, python, minutes)
    box.mount(competition.slug or competition.name, files)
    if not all(is_done(one, fold) for one in runs for fold in folds):
        return _session(Sessions(runs, folds, run.name, None, lambda _: True, box), box, minutes)
    known = replace(competition, slug=competition.slug or competition.name)
    task = rerun_of(HandedRuns(runs, run.asked), known, box)
    done = box.run(notebook(task, runs))
    _say("notebook", done)
    return RehearsalResult("notebook", done.seconds, _another_test_set(runs[0], known, place, python, minutes))


def _has_all(folder: Path, competition: Competition) -> bool:
    """Is every file there as it is called, not in one bundle?"""
    roles = competition.files.roles().values()
    return all(any(all(in_downloads(folder, name) for name in names) for names in accepted) for accepted in roles)


def _session(sessions: Sessions, box: Sandbox, minutes: float) -> RehearsalResult:
    done = box.run(sessions.kernel(1, minutes / 120).text)  # half of the clock
    manifest = Manifest.read(done.working / NAME)
    _say("session", done)
    console.stage("rehearse", f"it leaves {counted(len(manifest.files), 'file')}: {manifest.after}")
    return RehearsalResult("session", done.seconds)


def _say(what: str, done: Rehearsed) -> None:
    seconds = console.duration(done.seconds)
    console.stage("rehearse", f"the {what} ran in {seconds}, without network and with read-only input by {done.kept}")


def _another_test_set(
    run: Run, competition: Competition, place: Path, python: str | None, minutes: float
) -> float | None:
    """As the hidden rerun: a fold's own pictures under new ids in place of the test set, predicted by that fold's model
    alone, which never saw them. Its answers are those of OOF; returns their share."""
    fold = next(one for one in run.folds() if one.files.predicted.is_file())
    names = competition.files.roles()["test"][0]
    if len(names) > 1 or "/" in names[0] or competition.labels.layout in {"idx", "pixels-csv"}:
        console.stage("rehearse", "another test set in place of this one was not tried: it is no folder of pictures")
        return None
    if competition.pictures is not None or competition.files.test_table:
        console.stage("rehearse", "another test set was not tried: its samples are more than a picture with a name")
        return None
    oof, raw = fold.oof(), run.workspace.raw(run.competition.name)
    path_of = run.index[run.index["split"] == "train"].set_index("image_id")["path"]
    paths = [raw / path_of[image_id] for image_id in oof["image_id"]]
    if not all(path.is_file() for path in paths):
        console.stage("rehearse", "another test set was not tried: the training pictures are not here")
        return None
    ids = [f"r{number:06d}" for number in range(len(oof))]
    hidden = place.with_name(f"{place.name}-hidden")
    box, slug = Sandbox(hidden, python, minutes, older=True), str(competition.slug)
    for name, path in zip(ids, paths, strict=True):
        box.mount(slug, path, f"{unpacked_name(names[0])}/{name}{path.suffix}")
    samples = competition.files.sample_submission or competition.files.test_ids
    if samples:
        columns = {competition.submission.id_column: competition.rows_of(ids)} | dict.fromkeys(
            value_columns(competition), "0"
        )
        table = box.of("competitions", slug) / unpacked_name(str(samples[0]))
        pd.DataFrame(columns).to_csv(table, index=False)
    asked = replace(run.asked, ensemble=replace(run.asked.ensemble, models="folds"))
    handed = HandedRuns([run], asked, fold.number)
    done = box.run(notebook(rerun_of(handed, competition, box), [run]), hidden=True)
    came = read_text_csv(done.working / FILE, FILE).set_index(competition.submission.id_column)
    scored = HandIn(competition, asked.ensemble, run.group_of).scored(oof)
    wanted, new = competition.answers(scored.post.decisions), dict(zip(oof["image_id"], ids, strict=True))
    rows = competition.rows_of([new[name] for name in scored.oof["image_id"]])
    share = _share_alike(came.loc[rows, list(wanted.columns)], wanted)
    metric, put = competition.scoring, f"{len(ids):,} pictures of {fold.title} in place of the test set"
    score = metric.measure(scored.truth.targets, scored.post.decisions)
    text = f"{put}: {share:.1%} of the answers are those of OOF ({metric.name} {score:.4f})"
    console.stage("rehearse", text)
    if share < min(SAME, 1 - 1 / len(ids)):
        raise KitError(f"{FILE}: only {share:.1%} of the answers are those of OOF; are the packages others than here?")
    return share


def _share_alike(came: pd.DataFrame, asked: pd.DataFrame) -> float:
    """Text is compared as it stands, numbers to a hundredth."""
    numbers, wanted = (table.apply(pd.to_numeric, errors="coerce").to_numpy(float) for table in (came, asked))
    same = came.to_numpy(str) == asked.to_numpy(str)
    return float(np.mean(np.all(same | (np.abs(numbers - wanted) <= 0.01), axis=1)))
