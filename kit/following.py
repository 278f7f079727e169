"""Keys that follow a key given on the command line, where they would not fit it any more."""

import re
from math import isfinite
from typing import Any

from kit import console
from kit.errors import counted
from kit.settings import Data, Model, Train

Raw = dict[str, Any]


def follow(raw: Raw, file: Raw, given: set[str]) -> None:
    """Change `raw`, an experiment's YAML with overrides, in place, and say so. `file`: without them; `given`: which.

    A warm-up shrinks with the training; a cache, and the sizes of progressive resizing, follow the pictures' size; a
    network of another family starts without the options of the first. What was given too, and what is no number, stays,
    to be refused."""
    train, data = raw.get("train"), raw.get("data")
    if not given & {"model", "model.options"}:
        named = {key.removeprefix("model.options.") for key in given}
        _options(_section(raw, "model"), _section(file, "model"), named)
    if isinstance(train, dict):
        _warmup(train, _section(file, "train"))
    if isinstance(data, dict):
        _sizes(data, train if isinstance(train, dict) else {}, file)


def _section(raw: Raw, name: str) -> Raw:
    section = raw.get(name)
    return section if isinstance(section, dict) else {}


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) for value in values)


def _is_schedule(sizes: Any) -> bool:
    """A list of [epoch, side]."""
    return isinstance(sizes, list) and all(isinstance(x, list) and len(x) == 2 and _numbers(*x) for x in sizes)


def _options(model: Raw, before: Raw, named: set[str]) -> None:
    usual, options = Model().name, model.get("options")
    names = [str(one.get("name", usual)) for one in (model, before)]
    families = {re.split(r"[^a-z:]", name)[0] for name in names}
    if len(families) == 1 or not isinstance(options, dict):
        return
    left = {key: value for key, value in _section(before, "options").items() if key not in named}
    for key in left:
        options.pop(key, None)
    if left:
        console.warn(f"model.options: {left} are left out; the config has them for {names[1]}, not {names[0]}")


def _warmup(train: Raw, file: Raw) -> None:
    usual = Train()
    epochs, warmup = train.get("epochs", usual.epochs), train.get("warmup_epochs", usual.warmup_epochs)
    unfit = _numbers(epochs, warmup) and warmup >= epochs > 0 and train.get("mode") != "features"
    if not unfit or warmup != file.get("warmup_epochs", warmup):
        return
    before, share = file.get("epochs", usual.epochs), file.get("warmup_epochs", usual.warmup_epochs)
    if "warmup_epochs" not in train:
        before, share = usual.epochs, usual.warmup_epochs
    if _numbers(before, share) and share < before:
        train["warmup_epochs"] = round(epochs * share / before, 4)
        scaled = f"scaled to {train['warmup_epochs']:g}, for {counted(epochs, 'epoch')}"
        console.warn(f"train.warmup_epochs: {scaled} (the config has {share:g} for {before:g})")


def _sizes(data: Raw, train: Raw, file: Raw) -> None:
    size: Any = data.get("image_size")
    before: Any = _section(file, "data").get("image_size", Data().image_size)
    cache: Any = data.get("cache_size")
    sizes: Any = train.get("sizes")
    if not _numbers(size, before) or size == before or before <= 0:
        return
    if _numbers(cache) and cache < size and cache == _section(file, "data").get("cache_size"):
        data["cache_size"] = round(cache * size / before)
        console.warn(
            f"data.cache_size: scaled to {data['cache_size']}, for {size} px (the config has {cache} for {before} px)"
        )
    most = max([size, *([data["cache_size"]] if _numbers(cache) else [])])
    if not _is_schedule(sizes) or sizes != _section(file, "train").get("sizes"):
        return
    if any(side > most for _, side in sizes):
        train["sizes"] = [[epoch, max(8, round(side * size / before))] for epoch, side in sizes]
        console.warn(f"train.sizes: scaled to {train['sizes']}, for {size} px (the config has {sizes} for {before} px)")
