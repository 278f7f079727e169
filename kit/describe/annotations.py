"""Labels in COCO's JSON, one or several files of them."""

from kit.data.coco import Coco
from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Entry
from kit.describe.names import is_validation, plainest, roles_of
from kit.describe.pictures import Pictures
from kit.describe.targets import target_of_coco
from kit.errors import examples


def take_coco(cocos: list[Entry], pictures: Pictures, names: FileNames, case: Case) -> dict[str, str]:
    """Training picture -> a class that is marked in it, where some JSON names the pictures, else empty. Several JSONs
    do together, where no image stands in two."""
    read = [(entry, coco) for entry in cocos if (coco := entry.coco()) is not None and coco.marks]
    read = [(entry, coco) for entry, coco in read if "test" not in roles_of(entry.name)]
    known = [(entry, names.match(list(coco.files.values())).share) for entry, coco in read]
    fitting = [entry for entry, share in known if share >= 0.5]
    if not fitting:
        return {}
    fitting.sort(key=lambda entry: ("train" not in roles_of(entry.name), plainest(entry.name)))
    taken: set[str] = set()
    again: list[Entry] = []
    for entry in fitting:
        ids = set(coco.files) if (coco := entry.coco()) is not None else set()
        again += [entry] if ids & taken else []
        taken |= ids
    if again:
        case.warnings.append(f"{examples(entry.name for entry in again)}: the same ids again, left out")
        fitting = [entry for entry in fitting if entry not in again]
        train = [one.role for one in pictures.train if not is_validation(one.name)]
        if train and any("validation" in roles_of(entry.name) for entry in again):
            case.raw["files"]["train"] = train if len(train) == 1 else [train]
    roles = [entry.role for entry in fitting]
    case.raw["files"]["train_labels"] = roles if len(roles) == 1 else [roles]
    tests = [entry for entry in cocos if entry not in fitting and "test" in roles_of(entry.name)]
    if tests:
        case.raw["files"]["test_labels"] = [tests[0].role]
    case.used |= {*roles, *(entry.role for entry in tests[:1])}
    case.raw["labels"]["layout"] = "json"
    case.because(f"labels in {examples(entry.name for entry in fitting)}: COCO's images and annotations")
    taken_from = [coco for entry in fitting if (coco := entry.coco()) is not None]
    target_of_coco(case, taken_from)
    return _classes_in(taken_from, names)


def _classes_in(cocos: list[Coco], names: FileNames) -> dict[str, str]:
    found: dict[str, str] = {}
    for coco in cocos:
        marked = dict(coco.marks)
        for image, places in zip(coco.files, names.match(list(coco.files.values())).places, strict=True):
            found |= {names.files[place]: marked.get(image, "") for place in places}
    return found
