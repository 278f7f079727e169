"""Tables with a row per image and class, whose id cell holds both: `ID_2f306dc01_epidural`."""

from collections.abc import Sequence


def split_joined(cells: Sequence[str], separator: str, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """(the images' ids; int, which of `names` each cell ends with). Raises `ValueError` with the first cell that ends
    with none of them."""
    ends = {f"{separator}{name}": place for place, name in enumerate(names)}
    lengths = sorted({len(end) for end in ends}, reverse=True)
    images, places = [], []
    for cell in cells:
        length = next((length for length in lengths if cell[-length:] in ends and len(cell) > length), 0)
        if not length:
            raise ValueError(cell)
        images.append(cell[:-length])
        places.append(ends[cell[-length:]])
    return images, places


def joined(images: Sequence[str], separator: str, names: Sequence[str]) -> list[str]:
    return [f"{image}{separator}{name}" for image in images for name in names]
