"""audit: which labels are wrong? Confident learning on OOF, contradicting near-duplicates, outliers -> suspects.csv."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification import filter as multilabel
from cleanlab.multilabel_classification import get_label_quality_scores as multilabel_scores
from cleanlab.rank import get_label_quality_scores
from sklearn.neighbors import NearestNeighbors

from kit import console, figures
from kit.competition import Competition
from kit.data.reading import as_rgb
from kit.data.table import predictions, targets
from kit.errors import KitError, counted
from kit.inference.views import FIVE, ViewSet
from kit.run.member import read_member
from kit.run.predicting import features_through, has_frozen_network, run_features
from kit.run.run import Run
from kit.settings import View
from kit.workspace import atomic_path

SHOWN = 60  # pictures on the contact sheet
ODD = 3  # per cent of all pictures, the oddest as a whole, get a closer look
NEIGHBOURS = 10
CLOSER = tuple(View(scale=scale, crop=crop) for scale in (1.4, 2.0) for crop in FIVE)


@dataclass(frozen=True)
class AuditResult:
    suspects: Path
    num_suspects: int
    by_reason: dict[str, int]
    figure: Path


def audit(run: Run) -> AuditResult:
    """Write runs/NAME/suspects.csv: image_id, path, target, suggested, score, reason, kind; worst first. `score` is the
    probability of its label by models that never saw the image (for odd pictures: how like others it is, 0 to 1). Where
    a run uses frozen features, pictures unlike all others are suspects too."""
    if run.competition.task == "number":
        raise KitError("kit audit: task number has no classes to confuse; the report shows the largest errors")
    oof = read_member(run).oof
    if oof.empty:
        raise KitError(f"run {run.name} has no OOF predictions; type `kit predict`")
    oof = oof[~oof["image_id"].isin(run.touched_images())].reset_index(drop=True)  # they were reviewed
    suspects = _interleaved([_contradictions(run, oof), _mislabelled(run, oof), _odd(run, oof)])
    path = run.files.suspects
    with atomic_path(path) as temporary:
        suspects.to_csv(temporary, index=False, float_format="%.6g")
    figure = _draw(suspects, run)
    counts = {str(reason): int(count) for reason, count in suspects["kind"].value_counts().items()}
    console.stage("audit", f"{counted(len(suspects), 'suspect')}: {', '.join(f'{v} {k}' for k, v in counts.items())}")
    console.stage("audit", f"{path}; {figure}; mark them in the report (kit runs {run.name}) and save corrections.csv")
    return AuditResult(path, len(suspects), counts, figure)


def _rows(oof: pd.DataFrame, run: Run, order: np.ndarray, suggested: list[str], score: np.ndarray) -> pd.DataFrame:
    """The OOF rows in this order, as suspects without a reason yet."""
    train = run.samples.index[run.samples.index["split"] == "train"]
    path_of = dict(zip(train["image_id"], train["path"], strict=True))
    table = oof.iloc[order]
    columns = ["image_id", "path", "target", "suggested", "score"]
    given, predicted = _words(targets(table, run.competition), run.competition), [suggested[row] for row in order]
    facts = (table["image_id"].tolist(), table["image_id"].map(path_of).tolist(), given, predicted, score[order])
    return pd.DataFrame(dict(zip(columns, facts, strict=True)))


def _words(values: np.ndarray, competition: Competition) -> list[str]:
    """Targets or predictions as class names; a label set's separated by spaces."""
    names = np.array(competition.classes)
    if competition.task == "labels":
        return [" ".join(names[row]) for row in values > 0.5]
    return names[values if values.ndim == 1 else values.argmax(axis=1)].tolist()


def _mislabelled(run: Run, oof: pd.DataFrame) -> pd.DataFrame:
    """Confident learning (Northcutt et al. 2021): labels that out-of-fold predictions contradict, the surest first."""
    probs, wanted = predictions(oof, run.competition), targets(oof, run.competition)
    words = _words(probs, run.competition)
    if run.competition.task == "labels":
        sets = [np.flatnonzero(row).tolist() for row in wanted > 0.5]
        order = multilabel.find_label_issues(sets, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
        score = multilabel_scores(sets, probs)
    else:
        probs = probs / probs.sum(axis=1, keepdims=True)
        order = find_label_issues(wanted, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
        score = get_label_quality_scores(wanted, probs, method="self_confidence")
    table = _rows(oof, run, np.asarray(order, dtype=int), words, np.asarray(score))
    reasons = [f"the models predict {word or 'nothing'}" for word in table["suggested"]]
    return table.assign(reason=reasons, kind="mislabelled")


def _contradictions(run: Run, oof: pd.DataFrame) -> pd.DataFrame:
    """Near-identical training pictures with different labels: at most one of them is right."""
    probs, wanted = predictions(oof, run.competition), targets(oof, run.competition)
    own = probs[np.arange(len(oof)), wanted] if wanted.ndim == 1 else (1 - np.abs(probs - wanted)).min(axis=1)
    train = run.samples.index[run.samples.index["split"] == "train"]
    group_of = dict(zip(train["image_id"], train["group"], strict=True))
    groups = oof["image_id"].map(group_of).to_numpy()
    labels = np.array(_words(wanted, run.competition))
    order, reasons = [], []
    for group in pd.Series(groups).value_counts().loc[lambda count: count > 1].index:
        members = np.flatnonzero(groups == group)
        if len(set(labels[members])) < 2:
            continue
        for place in sorted(members, key=lambda row: own[row]):
            other = next(row for row in members if labels[row] != labels[place])
            order.append(place)
            reasons.append(f"near-identical to {oof['image_id'].iloc[other]}, which is {labels[other] or 'nothing'}")
    table = _rows(oof, run, np.array(order, dtype=int), _words(probs, run.competition), own)
    return table.assign(reason=reasons, kind="contradicting").sort_values("score", kind="stable")


def _odd(run: Run, oof: pd.DataFrame) -> pd.DataFrame:
    """Pictures whose features are far from all others': no animal, a drawing, an error page. So is a cat on a
    bookshelf, until one looks closer: what is odd as a whole is examined in parts, and the part most like other
    pictures counts."""
    words = _words(predictions(oof, run.competition), run.competition)
    if not has_frozen_network(run):
        return _rows(oof, run, np.empty(0, int), words, np.empty(0)).assign(reason="", kind="odd")
    model, row_of = run.fold(int(oof["fold"].iloc[0])).model(), run.samples.row_of()
    rows = np.array([row_of[image_id] for image_id in oof["image_id"]])
    whole = np.asarray(run_features(run, model)[0][rows], dtype=np.float32)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, len(whole)), metric="cosine").fit(whole)
    score = _likeness(neighbours, whole, np.arange(len(whole)))
    order = np.argsort(score, kind="stable")[: max(1, len(score) * ODD // 100)]
    for part in features_through(run, model, rows[order], ViewSet(CLOSER, run.experiment.data.image_size)):
        score[order] = np.maximum(score[order], _likeness(neighbours, part, order))
    order = order[np.argsort(score[order], kind="stable")]
    return _rows(oof, run, order, words, score).assign(reason="unlike all other pictures", kind="odd")


def _likeness(neighbours: NearestNeighbors, seen: np.ndarray, own: np.ndarray) -> np.ndarray:
    """float (N,): mean cosine similarity of features (N, D) to those of the nearest other pictures."""
    distance, near = neighbours.kneighbors(seen)
    other = near != own[:, None]
    other[other.all(axis=1), -1] = False  # the same number for every picture
    return 1 - np.average(distance, axis=1, weights=other)


def _interleaved(lists: list[pd.DataFrame]) -> pd.DataFrame:
    """Each kind's worst first, then each kind's second, and so on; an image appears once, at its first place."""
    ranked = [table.assign(rank=np.arange(len(table)), kind_rank=number) for number, table in enumerate(lists)]
    together = pd.concat(ranked, ignore_index=True).sort_values(["rank", "kind_rank"], kind="stable")
    return together.drop_duplicates("image_id").drop(columns=["rank", "kind_rank"]).reset_index(drop=True)


def _draw(suspects: pd.DataFrame, run: Run) -> Path:
    row_of, shown, path = run.samples.row_of(), suspects.head(SHOWN), run.files.figure("suspects")
    if len(shown):
        pictures = [as_rgb(np.asarray(run.samples.pixels[row_of[image_id]])) for image_id in shown["image_id"]]
        rows = shown.itertuples()
        captions = [f"{row.image_id}\n{row.target} -> {row.suggested}\n{row.kind} {row.score:.3f}" for row in rows]
        title = f"{run.name}: the {len(shown)} worst suspects (id; label -> prediction)"
        figures.contact_sheet(pictures, captions, title, path)
    return path
