"""What a submission must look like: made from probabilities, and validated against the competition's own sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.data.matching import resembles
from kit.data.places import require_in_raw
from kit.data.text_tables import read_text_csv
from kit.errors import KitError, counted, examples
from kit.joined import split_joined


@dataclass(frozen=True)
class Verdict:
    """`errors`: Kaggle would refuse the file. `doubts`: it would be accepted, but look again. Each is one sentence."""

    num_rows: int
    errors: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_sample(competition: Competition, raw: Path, test_ids: Sequence[str] = ()) -> pd.DataFrame:
    """The sample submission, all cells as text; a competition that has none asks for every one of `test_ids`. Raises
    `KitError` when it or its id column is missing."""
    id_column, answers = competition.submission.id_column, value_columns(competition)
    if not competition.files.sample_submission and not competition.files.test_ids:
        return pd.DataFrame({id_column: competition.rows_of(test_ids)} | dict.fromkeys(answers, ""))
    role = "sample_submission" if competition.files.sample_submission else "test_ids"
    file = require_in_raw(competition, raw, role)[0]
    sample = read_text_csv(file, str(file))
    if role == "test_ids" and id_column in sample:
        rows = competition.rows_of(sample[id_column].tolist())
        return pd.DataFrame({id_column: rows} | dict.fromkeys(answers, ""))
    wanted = [id_column, *answers]
    missing = [column for column in wanted if column not in sample]
    if missing:
        there = ", ".join(sample.columns)
        advice = "correct `submission` in the competition's YAML"
        raise KitError(f"{file}: has no column '{missing[0]}' (its columns: {there}); {advice}")
    return sample


def images_asked_for(competition: Competition, sample: pd.DataFrame, where: str) -> list[str]:
    """The ids of the images that a sample submission is about. Raises `KitError` with `where`."""
    column = competition.submission.id_column
    try:
        return competition.images_of(sample[column].tolist())
    except ValueError as error:
        expected = f"an id, '{competition.submission.joined}' and one of {examples(competition.labels.asked, 6)}"
        raise KitError(f"{where}: column '{column}' holds '{error}': expected {expected}") from None


def make_submission(
    competition: Competition, sample: pd.DataFrame, ids: list[str], decisions: np.ndarray
) -> pd.DataFrame:
    """The sample's rows, in its order, with our values. Row i of `decisions` (`scoring.metrics.decide`) is `ids[i]`.
    Raises `KitError` when the sample asks for an id that has no prediction."""
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    images = images_asked_for(competition, sample, "the sample submission")
    unknown = [image for image in images if image not in row_of]
    if unknown:
        text = f"the sample submission asks for {counted(len(unknown), 'image')} not in the test set"
        raise KitError(f"{text} ({examples(unknown)}); are both from the same download?")
    ours = competition.answers(decisions[[row_of[image] for image in images]])
    if competition.submission.joined is not None:
        ours = ours.set_axis(competition.rows_of(images)).loc[sample[competition.submission.id_column]]
    result = sample.copy()
    result[list(ours.columns)] = ours.to_numpy()
    return result


def validate(competition: Competition, sample: pd.DataFrame, file: Path, reference: pd.Series | None = None) -> Verdict:
    """Compare a CSV with the sample: columns, ids, order, values. `reference`: P(positive class) by id from a
    cross-validated model, where there is one: a file that contradicts it probably has its classes swapped."""
    table = read_text_csv(file, str(file))
    if list(table.columns) != list(sample.columns):
        have, want = ", ".join(table.columns), ", ".join(sample.columns)
        return Verdict(len(table), [f"columns are {have}; the sample has {want}"])
    errors, doubts = _check_ids(competition.submission.id_column, table, sample)
    values, wrong = _numbers(competition, table)
    errors += wrong
    if not errors:
        unlike = unlike_sample(competition, sample)
        doubts += [f"the sample is unlike it: {unlike}"] if unlike else []
        doubts += _check_values(competition, table, values, reference)
    return Verdict(len(table), errors, doubts)


def unlike_sample(competition: Competition, sample: pd.DataFrame) -> str:
    """How the sample's own answers differ from all that would be handed in; "" where they do not."""
    wanted, submission = competition.submission.format, competition.submission
    cells = sample[value_columns(competition)].head(1000).apply(lambda column: column.str.strip())
    some = [cell for cell in dict.fromkeys(cells.to_numpy().ravel().tolist()) if cell]
    shown = examples((f"'{cell}'" for cell in some), 2)
    if any(cell[:1] == "[" for cell in some):
        return f"its answers ({shown}) are lists, which the kit does not write"
    if wanted in {"label", "labels", "top_k"}:
        known = {competition.written(name) for name in competition.handed_in}
        words = {word for cell in some for word in ([cell] if cell in known else cell.split(submission.separator))}
        unknown = {word.strip() for word in words} - {"", *known}
        strange = sorted(word for word in unknown if not resembles(word, known))
        return (
            f"its answers ({shown}) hold {examples(strange, 3)}; the kit writes {examples(known, 4)}" if strange else ""
        )
    numbers = pd.to_numeric(pd.Series(some), errors="coerce")
    if numbers.isna().any():
        return f"its answers ({shown}) are no numbers; the kit writes a {wanted}"
    if competition.task != "number" and ((numbers < 0) | (numbers > 1)).any():
        return f"its answers ({shown}) lie outside 0..1; the kit writes probabilities"
    return ""


def _check_ids(column: str, table: pd.DataFrame, sample: pd.DataFrame) -> tuple[list[str], list[str]]:
    ids, wanted = table[column], sample[column]
    errors = []
    repeated = ids[ids.duplicated()]
    missing, extra = wanted[~wanted.isin(ids)], ids[~ids.isin(wanted)]
    if len(repeated):
        errors.append(f"{counted(len(repeated), 'id')} in the file twice ({examples(repeated)})")
    if len(missing):
        errors.append(f"{counted(len(missing), 'id')} of the sample missing ({examples(missing)})")
    if len(extra):
        errors.append(f"{counted(len(extra), 'id')} not in the sample ({examples(extra)})")
    moved = not errors and ids.tolist() != wanted.tolist()
    return errors, ["the rows are in a different order than in the sample"] if moved else []


def _numbers(competition: Competition, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """The value columns as float (N, columns), hard classes as their position among the allowed ones; what is wrong."""
    wanted, ids = competition.submission.format, table[competition.submission.id_column]
    columns = table[value_columns(competition)]
    if wanted in {"label", "labels", "top_k"}:
        return _places(competition, table)
    numbers = columns.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    bad = ~np.isfinite(numbers).all(axis=1)
    outside = ~bad & ((numbers < 0) | (numbers > 1)).any(axis=1) & (competition.task != "number")
    errors = []
    if bad.any():
        errors.append(f"{counted(bad.sum(), 'row')} without a number (ids {examples(ids[bad])})")
    if outside.any():
        errors.append(f"{counted(outside.sum(), 'row')} with values outside 0..1 (ids {examples(ids[outside])})")
    return numbers, errors


def _places(competition: Competition, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    submission = competition.submission
    if competition.questions:
        return _answers(competition, table)
    cells = table[value_columns(competition)[0]]
    place = {competition.written(name): number for number, name in enumerate(competition.handed_in)}
    parts = [[cell] if submission.format == "label" else cell.split(submission.separator) for cell in cells]
    if submission.format == "labels":  # an image may have none
        parts = [[one for one in row if one] for row in parts]
    strange = sorted({one for row in parts for one in row if one not in place})
    if strange:
        return np.empty(0), [f"{counted(len(strange), 'label')} not among {examples(place, 5)} ({examples(strange)})"]
    errors = []
    twice = [cell for cell, row in zip(cells, parts, strict=True) if len(set(row)) < len(row)]
    if twice:
        errors.append(f"{counted(len(twice), 'row')} naming a class twice ({examples(twice)})")
    most = competition.scoring.k
    long = [cell for cell, row in zip(cells, parts, strict=True) if submission.format == "top_k" and len(row) > most]
    if long:
        errors.append(f"{counted(len(long), 'row')} naming more than {most} classes ({examples(long)})")
    return np.array([[place[row[0]] if row else -1] for row in parts], float), errors


def _answers(competition: Competition, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """As `_places`, of several questions, each with answers of its own."""
    submission, questions = competition.submission, list(competition.questions)
    cells = table[value_columns(competition)].to_numpy()
    asked = np.tile(questions, (len(table), 1))
    if submission.joined is not None:
        ends = split_joined(table[submission.id_column].tolist(), submission.joined, questions)[1]
        asked = np.array(questions, dtype=object)[ends][:, None]
    of_each = {name: [one for one in competition.classes if one.startswith(f"{name}=")] for name in questions}
    known = {name: {competition.written(one) for one in classes} for name, classes in of_each.items()}
    pairs = sorted({(q, c) for q, c in zip(asked.ravel(), cells.ravel(), strict=True) if c not in known[q]})
    errors = []
    if pairs:
        strange = examples(f"'{cell}' for {question}" for question, cell in pairs)
        errors = [f"{len(pairs):,} answers are not among their question's ({strange})"]
    return np.empty((len(table), 0)), errors


def _check_values(
    competition: Competition, table: pd.DataFrame, values: np.ndarray, reference: pd.Series | None
) -> list[str]:
    doubts, submission = [], competition.submission
    if len(table) > 1 and table[value_columns(competition)].nunique().max() == 1:
        doubts.append("every row has the same answer")
    if submission.format == "probabilities" and competition.task != "labels":
        off = np.abs(values.sum(axis=1) - 1) > 0.02
        if off.any():
            doubts.append(f"{counted(off.sum(), 'row')} not summing to 1")
    if reference is not None and values.shape[1] == 1 and len(competition.classes) == 2:
        first = values[:, 0]
        positive = first > 0.5 if submission.format == "probability" else first == competition.positive_index
        expected = reference.reindex(table[submission.id_column]).to_numpy()
        known = np.isfinite(expected)
        agreement = float(np.mean(positive[known] == (expected[known] > 0.5))) if known.any() else 1.0
        if agreement < 0.5:
            doubts.append(f"it agrees with the cross-validated model on {agreement:.0%} of the rows: classes swapped?")
    return doubts


def value_columns(competition: Competition) -> list[str]:
    if competition.submission.joined is None and competition.submission.format in {"probabilities", "numbers"}:
        return list(competition.classes or competition.numbers)
    if competition.submission.joined is None and competition.questions:
        return list(competition.questions)
    return [competition.submission.column or ""]
