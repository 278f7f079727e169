"""Classes by the words that the sample uses: through a JSON of codes and names, or several of them as one."""

from collections.abc import Mapping

import pandas as pd
import yaml

from kit.describe.case import Case
from kit.describe.entry import Inventory
from kit.describe.groups import is_grouped
from kit.errors import ConfigError, examples

MOST = 12  # sources that may be one class
SAME_NAME = r"(?P<group>[^/]+)\.[^.]+$"
KEY = "labels.rename"


def rename_classes(inventory: Inventory, names: list[str], case: Case) -> None:
    """`labels.rename`, where the sample's words are not the labels' own. `names`: the training pictures' paths."""
    labels = case.raw["labels"]
    if not labels.get("classes") or labels["layout"] in {"idx", "pixels-csv"} or case.raw["task"] == "ordinal":
        return
    given = case.given.get(KEY, "")
    if given.startswith("{"):
        _rename(case, _mapping(given))
    elif not _by_codes(inventory, case) and (given or _wants_two(case)):
        _one_against_others(names, case)


def _mapping(given: str) -> dict[str, str]:
    try:
        read = yaml.safe_load(given)
    except yaml.YAMLError:
        read = None
    if not isinstance(read, dict) or None in read.values():
        raise ConfigError(f"--set {KEY}={given}: expected {{WORD: CLASS, ...}}")
    return {str(word): str(meant) for word, meant in read.items()}


def _rename(case: Case, rename: Mapping[str, str]) -> None:
    labels = case.raw["labels"]
    labels["rename"] = dict(rename)
    labels["classes"] = list(dict.fromkeys(rename.get(name, name) for name in labels["classes"]))


def _by_codes(inventory: Inventory, case: Case) -> bool:
    """Is there a JSON that leads from the labels' words to the sample's?"""
    classes, wanted = set(case.raw["labels"]["classes"]), case.values
    if not wanted or wanted & classes:
        return False
    for entry in inventory.entries:
        mapping = entry.mapping()
        for words in (mapping, {meant: word for word, meant in mapping.items()}):
            if not classes <= set(words) or not wanted & {words[name] for name in classes}:
                continue
            case.used.add(entry.role)
            meant = {name: words[name] for name in case.raw["labels"]["classes"]}
            case.because(f"{entry.name}: {examples((f'{word} = {means}' for word, means in meant.items()), 4)}")
            plain = all(word.isdecimal() and str(int(word)) == word for word in meant.values())
            if plain and len(case.answers) == 1 and not case.cells.str.contains(" ").any():
                case.numbers = {name: int(number) for name, number in meant.items()}  # their names stay
            else:
                _rename(case, meant)
            return True
    return False


def _wants_two(case: Case) -> bool:
    """One probability per image, and more than two classes."""
    several = case.raw["task"] == "classes" and 2 < len(case.raw["labels"]["classes"]) <= MOST
    numbers = pd.to_numeric(case.cells, errors="coerce")
    fractions = bool(len(numbers) and numbers.between(0, 1).all() and numbers.mod(1).gt(0).any())
    of_two = bool(case.metrics) and all(set(metric.formats) == {"probability"} for metric in case.metrics)
    return several and len(case.answers) == 1 and (fractions or of_two)


def _one_against_others(names: list[str], case: Case) -> None:
    """Which class stands alone; pictures of one name in several folders are then one picture's versions."""
    classes = case.raw["labels"]["classes"]
    options = [(name, f"{name} against {examples((one for one in classes if one != name), 4)}") for name in classes]
    question = f"The sample has one probability per image, and there are {len(classes)} classes: which stands alone?"
    alone = case.choose(KEY, question, options)
    others = [name for name in classes if name != alone]
    _rename(case, dict.fromkeys(others, f"not {alone}"))
    case.because(f"one probability: {alone} against {examples(others, 6)}")
    if case.raw["labels"]["layout"] != "folders" or is_grouped(case):
        return
    stems = pd.Series([name.rpartition("/")[2] for name in names])
    if stems.duplicated(keep=False).mean() > 0.5:
        case.raw["labels"]["group_pattern"] = SAME_NAME
        case.because("the folders share their files' names: files of one name stay in one fold")
