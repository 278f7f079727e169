"""Which pictures are for training, and which are the test set: by names, and by the ids that are to be handed in."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from kit import schema
from kit.data.containers import likely_shapes, pixels_a_row
from kit.data.listing import is_within, natural
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.names import is_beside, is_test, is_train, is_validation, plainest, words_of
from kit.errors import KitError, examples

IMAGES = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "rgb"}  # a folder's name
_MASK = re.compile(r"[_-]?(mask|segmentation|seg|annotation|depth|thumbnail|thumb)s?$", re.I)
LOOKED_AT = 3  # pictures, to see whether a folder is a copy
CLEAR = 1.2  # the second shape is so much rougher


@dataclass(frozen=True)
class Pictures:
    """`train` and `test`: folders, together; the same where one folder serves both. `shared`: which is that case."""

    train: list[Entry]
    test: list[Entry]

    @property
    def shared(self) -> bool:
        return self.train == self.test

    @property
    def named(self) -> list[str]:
        return [name for entry in self.train for name in entry.named]


def leave_out_beside(inventory: Inventory, case: Case) -> Inventory:
    """Without masks and the like (COVID/masks beside COVID/images), and without copies of the other folders. Writes
    `files.without` into the YAML's mapping; what is given there is left out."""
    given = case.given.get("files.without")
    found = {name for entry in inventory.entries for name in _folders_of_masks(entry) | _masks_beside(entry)}
    found |= _copies(inventory.entries)
    names = sorted(found) if given is None else schema.parse_yaml(given, "--set files.without")
    left = [[p for p in e.pictures if not is_within(names, f"{e.name}/{p}")] for e in inventory.entries]
    if not names or not any(left):
        return inventory
    case.raw["files"]["without"] = names
    case.warnings.append(f"left out: pictures called {examples(names)}, or in folders of that name (files.without)")
    pairs = zip(inventory.entries, left, strict=True)
    return replace(inventory, entries=[replace(e, pictures=p, held={}) if e.pictures else e for e, p in pairs])


def _masks_beside(entry: Entry) -> set[str]:
    """`*_mask*`, where nearly all files called so are masks of the picture beside them: 1.png, 1_mask.png."""
    stems = {str(PurePosixPath(picture).with_suffix("")) for picture in entry.pictures}
    masks = [stem for stem in stems if "_mask" in PurePosixPath(stem).name]
    paired = [stem for stem in masks if stem.rpartition("_mask")[0] in stems]
    return {"*_mask*"} if masks and len(paired) > 0.9 * len(masks) else set()


def _copies(entries: Sequence[Entry]) -> set[str]:
    """Folders that hold the others once more: all/cat and all/dog beside cat and dog, with the same pictures."""
    held = {name: (entry, name.partition("/")[2]) for entry in entries for name in entry.named}
    found = set()
    for entry in entries:
        own = [(entry.read(one), *held[one]) for one in entry.pictures[:LOOKED_AT] if one in held]
        whole = bool(own) and all(one in held for one in entry.pictures)
        name = PurePosixPath(entry.name).name
        same = whole and all(other is not entry and data == other.read(inside) for data, other, inside in own)
        if same and not any(is_within([name], one) for one, (other, _) in held.items() if other is not entry):
            found.add(name)  # of no folder in the others
    return found


def _folders_of_masks(entry: Entry) -> set[str]:
    """Called masks, beside folders of images alone, of whose files they have the names: with_mask and no_mask, or mask,
    photo and video, are classes."""
    within: dict[str, dict[str, set[str]]] = {}
    for picture in entry.pictures:
        *folders, file = picture.split("/")
        for depth, name in enumerate(folders):
            stems = within.setdefault("/".join(folders[:depth]), {}).setdefault(name, set())
            stems.add(_MASK.sub("", PurePosixPath(file).stem))
    found: set[str] = set()
    for children in within.values():
        masks = {name for name in children if is_beside(name) and len(words_of(name)) == 1}
        others = [name for name in children if name not in masks]
        if others and all(not IMAGES.isdisjoint(words_of(name)) for name in others):
            images = set().union(*(children[name] for name in others))
            found |= {name for name in masks if len(children[name] & images) > 0.5 * len(children[name])}
    return found


def picture_roles(inventory: Inventory, case: Case) -> Pictures:
    found = [entry for entry in inventory.entries if entry.pictures]
    pictures = sorted(found, key=lambda entry: plainest(entry.name))
    beside = [entry for entry in pictures if is_beside(entry.name)]
    if any(
        set(words_of(one.name)) < set(words_of(other.name))
        for one in beside
        for other in pictures
        if not is_beside(other.name)
    ):
        beside = []  # mask and no_mask
    pictures = [entry for entry in pictures if entry not in beside] or pictures
    trains = [entry for entry in pictures if is_train(entry.name)]
    if not trains:
        trains = [entry for entry in pictures if is_validation(entry.name)]
    tests = _tests(pictures, trains, case)
    if not trains:
        trains = [entry for entry in pictures if entry not in tests and not is_test(entry.name)]
    if not trains and tests:
        trains = tests  # one folder for both
    if not tests and case.sample is None and case.test_table is None and trains:
        case.warnings.append("no test pictures and no sample submission: a CV, and nothing to hand in")
    elif not tests:
        raise KitError(_without_test(trains, pictures, inventory))
    train = _parts_like(trains[0], trains) if trains != tests else tests
    if train is not tests and not any(is_train(entry.name) for entry in trains):
        train = trains
    validation = [e for e in pictures if is_validation(e.name) and e not in [*train, *tests]]
    if validation and train is not tests:
        train = [*train, *validation]
        case.because(f"{examples(e.name for e in validation)}: labelled pictures, for training too")
    result = Pictures(train, tests)
    for role, entries in (("train", result.train), ("test", result.test)):
        if not entries:
            continue
        roles = [entry.role for entry in entries]
        case.raw["files"][role] = roles if len(roles) == 1 else [roles]
        case.used |= set(roles)
    _say(result, case)
    _settle_shape(result, case)
    return result


def _parts_like(first: Entry, trains: list[Entry]) -> list[Entry]:
    """With those that go on where it ends: called as it is but for a number, with pictures of other names."""
    alike = [one for one in trains if re.sub(r"\d+", "", one.name) == re.sub(r"\d+", "", first.name)]
    names = [PurePosixPath(picture).name for entry in alike for picture in entry.pictures]
    return sorted(alike, key=lambda one: natural(one.name)) if len(set(names)) == len(names) else [first]


def _settle_shape(pictures: Pictures, case: Case) -> None:
    """`labels.pixel_shape`, of rows of pixels that are not square."""
    held = [entry.container for entry in pictures.train if entry.container is not None]
    count = pixels_a_row(held[0]) if held else None
    if count is None or "labels.pixel_shape" in case.given:
        return
    (first, rough), *others = [*likely_shapes(held[0]), ((1, count), math.inf)]
    if others[0][1] < CLEAR * rough:
        options = [(str(list(shape)), "height, width") for shape, _ in [(first, rough), *others][:4]]
        question = f"{held[0].name}: what shape have {count:,} pixels a row?"
        case.raw["labels"]["pixel_shape"] = json.loads(case.choose("labels.pixel_shape", question, options))
        return
    case.raw["labels"]["pixel_shape"] = list(first)
    text = f"{held[0].name}: {count:,} pixels a row are pictures of {first[1]} x {first[0]} (width x height)"
    case.because(f"{text}: so each pixel is most like the one below it")


def _tests(pictures: list[Entry], trains: list[Entry], case: Case) -> list[Entry]:
    """The folders that hold the ids to be handed in, as few as do; without ids, the one that says `test`."""
    named = [entry for entry in pictures if is_test(entry.name) and entry not in trains]
    others = [entry for entry in pictures if entry not in named]
    if not case.ids:
        if named:
            return named[:1]
        one = len(pictures) == 1 and case.sample is not None and not is_train(pictures[0].name)
        return pictures if one else []
    if named and named[0].names.are_rows:  # numbers, which the training array has, too
        return named[:1]
    ids = case.ids[:2000]
    candidates = [*named, *(entry for entry in others if entry not in trains), *trains]
    shares = {entry.role: entry.names.match(ids).share for entry in candidates}
    whole = [entry for entry in candidates if shares[entry.role] == 1]
    if whole:
        return whole[:1]
    some = [entry for entry in candidates if shares[entry.role] > 0]
    if some and sum(shares[entry.role] for entry in some) >= 0.999:
        return some
    best = max(candidates, key=lambda entry: shares[entry.role])
    return named[:1] or ([best] if shares[best.role] else [])


def _without_test(trains: list[Entry], pictures: list[Entry], inventory: Inventory) -> str:
    one = (trains or pictures)[0].name
    others = examples(entry.name for entry in pictures if entry.name != one) or "no other folder of pictures"
    return f"pictures for training in {one}, and none for the test set ({others}){inventory.also()}"


def _say(pictures: Pictures, case: Case) -> None:
    def counted(entries: list[Entry]) -> str:
        return f"{sum(len(e.pictures) for e in entries):,} in {' and '.join(e.name for e in entries)}"

    if pictures.shared:
        case.because(f"pictures of train and test in one folder: {counted(pictures.train)}")
    else:
        test = f"; test pictures: {counted(pictures.test)}" if pictures.test else ""
        case.because(f"training pictures: {counted(pictures.train)}{test}")
