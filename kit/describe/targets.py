"""What is to be predicted: writes `task` and `labels` into the YAML's mapping."""

import re
from collections.abc import Sequence

import pandas as pd

from kit.data.coco import Coco
from kit.data.images import EXTENSIONS
from kit.data.label_files import is_junk
from kit.data.matching import resembles
from kit.describe.case import Case, number_first
from kit.describe.groups import SURE, find_group
from kit.describe.several import answers_in_columns, columns_as_asked
from kit.describe.strings import describe_strings, refuse_places
from kit.errors import KitError, counted, examples
from kit.tasks import Task

ORDERED = re.compile(r"diagnosis|grade|level|severity|stage|score|rating|isup|quality|degree")
MANY = 30  # with more distinct numbers they are not grades
FEW_MARKS = 3  # columns
MARKS = ".DS_Store and the like"


def target_of_files(case: Case) -> None:
    """Classes known from folders, file names, idx files or tables of pixels."""
    classes = case.classes or []
    numbers = pd.to_numeric(pd.Series(classes, dtype=str), errors="coerce").notna().all()
    graded = case.given.get("task") == "ordinal" or not (case.fits("classes") or not case.fits("ordinal"))
    case.because(f"{len(classes)} {'grades' if numbers and graded else 'classes'}: {examples(classes, 6)}")
    case.raw["task"] = "ordinal" if numbers and graded else "classes"
    case.raw["labels"]["classes"] = classes


def target_of_coco(case: Case, cocos: Sequence[Coco]) -> None:
    """Classes of COCO's annotations; several where an image has several."""
    names = {number: name for coco in cocos for number, name in coco.names.items()}
    marks = [mark for coco in cocos for mark in coco.marks]
    used = sorted({name for _, name in marks}, key=number_first)
    several = len(set(marks)) > len({image for image, _ in marks})
    case.because(f"{len(used)} classes: {examples(used, 6)}" + (", several per image" if several else ""))
    case.raw["task"] = "labels" if several else "classes"
    case.raw["labels"]["classes"] = used
    case.numbers = {name: int(number) for number, name in names.items() if str(number).isdecimal() and name in used}
    facts = pd.DataFrame([facts for coco in cocos for facts in coco.facts]).fillna("")
    marked = [(dict(coco.marks), list(coco.files)) for coco in cocos]
    find_group(facts, {"id", "file_name"}, [name.get(image, "") for name, images in marked for image in images], case)


def target_of_table(case: Case) -> None:
    """A table of labels: columns of 0 and 1, strings, delimited strings, ordered or real numbers."""
    assert case.table is not None
    table, wanted = case.table[~case.table[case.id_column].map(is_junk).astype(bool)], case.answers
    junk = len(case.table) - len(table)
    if junk:
        case.warnings.append(f"{counted(junk, 'row')} for hidden files ({MARKS}) are left out")
    case.table = table = columns_as_asked(table, case)
    signs = [column for column in wanted if column in table and _signs(table[column])]
    if case.sample is None and (columns := _marks(table, case)):
        wanted = signs = case.answers = columns
    wide = len(wanted) > 1 and signs == wanted
    several = not wide and len(wanted) > 1 and all(name in table for name in wanted)
    column = "" if wide or several else _target_column(case)
    find_group(table, {case.id_column, column, *wanted}, classes_in(table, column, wanted), case, case.test_table)
    if wide:
        _wide(case)
        return
    if several:
        answers_in_columns(case)
        return
    case.raw["labels"]["column"] = column
    cells = table[column].str.strip()
    empty = cells == ""
    if empty.any():
        lost = examples(table[case.id_column][empty])
        count = counted(int(empty.sum()), "cell")
        case.warnings.append(f"'{column}': {count} empty ({lost}): these labels are missing, their images left out")
    values = cells[~empty]
    if values.empty:
        raise KitError(f"column '{column}' of the labels is empty")
    refuse_places(column, values)
    if pd.to_numeric(values, errors="coerce").notna().all():
        _numbers(case, column, values)
    else:
        describe_strings(case, column, values)


def classes_in(table: pd.DataFrame, column: str, wanted: Sequence[str]) -> list[str]:
    """Of each row: its cell in `column`, or what it has in the columns that the sample asks for; "" without either."""
    columns = [column] if column in table else [name for name in wanted if name in table]
    return table[columns].agg(" ".join, axis=1).tolist() if columns else [""] * len(table)


def _marks(table: pd.DataFrame, case: Case) -> list[str]:
    """Without a sample submission: the labels' columns, where all but the id and groups hold 0 and 1, three or more."""
    columns = [str(c) for c in table if c not in {case.id_column, ""} and not SURE.match(str(c).lower())]
    marks = len(columns) >= FEW_MARKS and all(_signs(table[column]) for column in columns)
    return columns if marks and "labels.column" not in case.given else []


def _signs(column: pd.Series) -> bool:
    numbers = set(pd.to_numeric(column[column.str.strip() != ""], errors="coerce").unique())
    return bool(numbers) and (numbers <= {0.0, 1.0} or numbers <= {-1.0, 1.0})


def _wide(case: Case) -> None:
    assert case.table is not None
    wanted = case.answers
    numbers = case.table[wanted].apply(pd.to_numeric, errors="coerce")
    single = bool(((numbers == 1).sum(axis=1) == 1)[numbers.notna().all(axis=1)].all())
    case.raw["task"] = "classes" if single and case.fits("classes") and case.rows is None else "labels"
    by_row = "joined" in case.raw["labels"]
    case.raw["labels"] |= {"classes": wanted} if by_row else {"wide": True, "classes": wanted}
    kind = "always one set: one class per image" if single else "any number set: several labels per image"
    whose = "sample's" if case.sample is not None else "labels'"
    case.because(f"the {whose} {len(wanted)} columns ({examples(wanted, 4)}) hold 0 and 1 in the labels, {kind}")


def _target_column(case: Case) -> str:
    """The column that the sample asks for, or that has the values of the sample's cells."""
    assert case.table is not None
    table, wanted = case.table, case.answers
    if "labels.column" in case.given:
        return case.choose("labels.column", "", [(str(column), "") for column in table])
    if len(wanted) == 1 and wanted[0] in table:
        case.because(f"target column '{wanted[0]}', as in the sample submission")
        return wanted[0]
    if not wanted and (named := case.folders_in) is not None:
        case.because(f"target column '{named}': the pictures' folders are called so")
        return named
    features = set(case.test_table) if case.test_table is not None else set()
    taken = {case.id_column, "", *case.raw["labels"].get("only", ())}
    others = [str(column) for column in table if column not in taken and set(table[column]) != {""}]
    if len(wanted) > 1:
        found = [column for column in others if set(table[column].unique()) - {""} <= set(wanted)]
        why = "the sample has its values as columns"
    else:
        found = [column for column in others if case.values & set(table[column].unique())]
        why = f"the sample's '{examples(wanted)}' holds its values"
        if not found and case.values:
            found = [column for column in others if _holds_like(table[column], case)]
            why = f"the sample's '{examples(wanted)}' holds codes like its own"
            found = found if len(found) == 1 else []
    if not found:
        why = "the only one that fits"
        found = [column for column in others if not SURE.match(column.lower())]
    possible = [column for column in found if _may_be(table[column], case)]
    found = [column for column in possible if column not in features]
    if not found and not wanted:  # the test table is labelled, too
        found = possible
    plausible = _plausible(found, table, case) or found
    why = why if plausible == found else "the others are constants, names or texts of one image, or say the same"
    found = plausible
    if not found:
        asks = examples(wanted, 4) or "nothing that says so"
        both = f"the labels have {examples(others, 8)}, the sample asks for {asks}"
        raise KitError(f"which column is the target? {both}; say which: --set labels.column=NAME")
    options = [(name, f"e.g. {table[name].iloc[0]}") for name in found]
    chosen = case.choose("labels.column", f"Which column is the target: {', '.join(found)}?", options)
    if len(found) == 1:
        case.because(f"target column '{chosen}', {table[chosen].nunique():,} different: {why}")
    return chosen


def _plausible(columns: list[str], table: pd.DataFrame, case: Case) -> list[str]:
    """Without constants, files' names, words of which each image has its own, and numbers that stand for another one's
    words, unless they are grades."""
    columns = [name for name in columns if table[name].str.lower().str.endswith(tuple(EXTENSIONS)).mean() < 0.5]
    known = {name: table[name][table[name].str.strip() != ""] for name in columns}
    numeric = {name: bool(pd.to_numeric(cells, errors="coerce").notna().all()) for name, cells in known.items()}
    different = {name: cells.nunique() for name, cells in known.items()}
    found = [name for name in columns if different[name] > 1 and (numeric[name] or different[name] < len(known[name]))]
    words = [name for name in found if not numeric[name] and case.fits("classes")]
    graded = {name for name in found if ORDERED.search(name.lower())}

    def stands_for(number: str, name: str) -> bool:
        return different[number] == different[name] == len(table[[number, name]].drop_duplicates())

    spoken = {name for name in found if numeric[name] and any(stands_for(name, other) for other in words)}
    return [name for name in found if name not in spoken - graded]


def _holds_like(column: pd.Series, case: Case) -> bool:
    """Codes like the sample's, one in a cell, and not one for each image?"""
    codes = set(column) - {""}
    words = [word for word in case.values if " " not in word]
    coded = bool(words) and not any(word.isdecimal() for word in words)  # numbers are like any others
    return coded and len(codes) < len(column) and all(resembles(word, codes) for word in words)


def _may_be(column: pd.Series, case: Case) -> bool:
    """Could the metric score it? Numbers need a column of numbers."""
    if case.metrics and all(metric.tasks == ("number",) for metric in case.metrics):
        return bool(pd.to_numeric(column[column != ""], errors="coerce").notna().all())
    return True


def _numbers(case: Case, column: str, values: pd.Series) -> None:
    """Two classes, classes by number, grades, or a real value: by how many there are, the metric, and the sample."""
    numbers = pd.to_numeric(values)
    distinct = sorted(values.unique(), key=number_first)
    whole = bool((numbers % 1 == 0).all()) and (numbers.min() >= 0 or set(numbers) == {-1, 1})
    ranked = len(case.cells) > 0 and max(len(cell.split()) for cell in case.cells) > 1
    text = f"'{column}': {len(distinct):,} different numbers, {numbers.min():g} to {numbers.max():g}"
    options: list[tuple[Task, str]] = []
    if whole and len(distinct) == 2 and case.fits("classes"):
        options = [("classes", "two classes")]
    elif whole and (ranked or column == case.folders_in):
        options = [("classes", "names of classes")]
    elif whole:
        grades: list[tuple[Task, str]] = [("ordinal", "grades, in order")] if len(distinct) <= MANY else []
        names: list[tuple[Task, str]] = [("classes", "names of classes")]
        value: list[tuple[Task, str]] = [("number", "a real value")]
        options = grades + names + value if ORDERED.search(column.lower()) else names + grades + value
        options = options if len(distinct) <= MANY else value + names
    if not ranked and pd.to_numeric(case.cells, errors="coerce").mod(1).gt(0).any() and len(distinct) > 2:
        options = [option for option in options if option[0] == "number"]  # the sample has fractions
    options = [option for option in options if case.fits(option[0])] or [("number", "a real value")]
    sure = len(options) == 1 or (bool(case.metrics) and options[0][0] != "number")
    task = options[0][0] if sure else case.choose("task", f"{text}: what are they?", options)
    case.raw["task"] = task
    case.because(f"{text} -> {next(meaning for name, meaning in options if name == task)}")
    if task != "number":
        case.raw["labels"]["classes"] = distinct
