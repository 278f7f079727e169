"""COCO's JSON: images, annotations and categories."""

import json
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError


@dataclass(frozen=True)
class Coco:
    """COCO's JSON. `files`: image id -> file name; `marks`: (image id, class); `names`: category id -> class; `facts`:
    what else is said of each image (location, sequence, ...), as text."""

    files: dict[str, str]
    marks: list[tuple[str, str]]
    names: dict[Any, str]
    facts: list[dict[str, str]]


def parse_coco(data: bytes, file: str) -> Coco:
    """images (id, file_name), annotations (image_id, category_id), categories (id, name); `file`: its name in errors. A
    class is called by its category's name, or by the id where names are missing or not unique."""
    try:
        raw = json.loads(data)
        files = {str(i["id"] if "id" in i else i["image_id"]): str(i["file_name"]) for i in raw["images"]}
        names = {}
        for category in raw.get("categories", []):
            number = category["id"] if "id" in category else category["category_id"]
            names[number] = str(category.get("name", category.get("scientificName", number)))
        if len(set(names.values())) < len(names):
            names = {number: str(number) for number in names}
        pairs = [(str(one["image_id"]), one["category_id"]) for one in raw.get("annotations", [])]
        marks = [(image, names.get(number, str(number))) for image, number in pairs]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "images with id and file_name, annotations with image_id and category_id"
        raise KitError(f"{file}: is not COCO's JSON ({expected}): {type(error).__name__} {error}") from None
    if len(files) < len(raw["images"]):
        raise KitError(f"{file}: images: an id appears twice")
    facts = [
        {key: str(value) for key, value in image.items() if isinstance(value, str | int)} for image in raw["images"]
    ]
    return Coco(files, marks, names, facts)
