"""COCO's JSON: images, annotations and categories."""

import json
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError

IMAGE, CATEGORY = ("image_id", "imageId"), ("category_id", "label_id", "labelId")  # as the keys are called


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
    class is called by its category's name, or by the id where names are missing or not unique. As iMaterialist writes
    it: images without file_name go by their id; imageId; label_id or labelId, one or a list."""
    try:
        raw = json.loads(data)
        ids = [str(_first(image, "id", *IMAGE)) for image in raw["images"]]
        files = {one: str(image.get("file_name", one)) for one, image in zip(ids, raw["images"], strict=True)}
        names = {}
        for category in raw.get("categories", []):
            number = _first(category, "id", *CATEGORY)
            names[number] = str(category.get("name", category.get("scientificName", number)))
        if len(set(names.values())) < len(names):
            names = {number: str(number) for number in names}
        pairs = [(str(_first(one, *IMAGE)), _first(one, *CATEGORY)) for one in raw.get("annotations", [])]
        each = [(image, one) for image, number in pairs for one in (number if isinstance(number, list) else [number])]
        marks = [(image, names.get(number, str(number))) for image, number in each]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "images with id and file_name, annotations with image_id and category_id"
        raise KitError(f"{file}: is not COCO's JSON ({expected}): {type(error).__name__} {error}") from None
    if len(files) < len(raw["images"]):
        raise KitError(f"{file}: images: an id appears twice")
    facts = [
        {key: str(value) for key, value in image.items() if isinstance(value, str | int)} for image in raw["images"]
    ]
    return Coco(files, marks, names, facts)


def _first(row: dict[str, Any], *keys: str) -> Any:
    """Of the first key that it has. Raises `KeyError` with the usual one where it has none."""
    return row[next((key for key in keys if key in row), keys[0])]
