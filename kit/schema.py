"""YAML in, typed frozen dataclasses out; a wrong key or value is one line. Used by `config` and `competition`."""

import copy
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from kit.errors import ConfigError, nearest

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_PACKAGE = Path(__file__).resolve().parent
REPOSITORY = _PACKAGE if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent  # a wheel has configs/ inside the package

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """PyYAML reads `1e-4` as a string (YAML 1.1 requires a dot) and silently lets a repeated key win; not here."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                twice = f"the key {str(key)!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, twice, node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would read as a number."""


_FLOAT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$")
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` is named in the error."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{source}:{where} not valid YAML: {getattr(error, 'problem', error)}") from None


def find_config(path: str | Path, folder: str = "") -> Path:
    """A config's file: as given, then under `configs/` of the current folder, then of the repository. `folder` is the
    subfolder of configs/ that is searched (`competitions`), and `.yaml` may be left out."""
    given = Path(path)
    names = [given] if given.suffix in {".yaml", ".yml"} else [given.with_name(given.name + ".yaml"), given]
    roots = [Path(), Path("configs") / folder, REPOSITORY, REPOSITORY / "configs" / folder]
    bare = given.name == str(given) and not given.suffix  # a name, not a path: looked up in its own folder only
    for root in roots[1::2] if bare else roots:
        for name in names:
            if (root / name).is_file():
                return root / name
    there = sorted({file.name for root in roots[1::2] for file in root.glob("*.yaml")})
    raise ConfigError(f"{path}: no such file, here or in the repository's configs/{nearest(given.name, there)}")


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, found {type(raw).__name__}")
    return raw


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str], flag: str = "--set") -> dict[str, Any]:
    """`key.path=value` items of a command's `flag`, applied to a mapping (in place); the value is YAML."""
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{flag} {item}: expected key=value, for example --set train.epochs=3")
        *parents, last = key.strip().split(".")
        node = raw
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{flag} {item}: '{parent}' is a value, not a section of keys")
        node[last] = parse_yaml(text, f"{flag} {item}")
    return raw


def rename_keys(raw: dict[str, Any], spellings: Mapping[str, str], source: str | None = None) -> dict[str, Any]:
    """A mapping with old key paths (`train.precision`) moved to their new place. With a file `source`, a key under both
    is an error; without, the old spelling came later and wins."""
    raw = copy.deepcopy(raw)
    for old, new in spellings.items():
        (old_parent, old_key), (new_parent, new_key) = old.split("."), new.split(".")
        if isinstance(raw.get(old_parent), dict) and old_key in raw[old_parent]:
            place = raw[new_parent] = raw.get(new_parent) or {}
            if source is not None and isinstance(place, dict) and new_key in place:
                raise ConfigError(f"{source}: {old} is the old spelling of {new}, and both are given; leave {old} out")
            if isinstance(place, dict):
                place[new_key] = raw[old_parent].pop(old_key)
    return raw


def build(cls: type[T], raw: dict[str, Any], source: str) -> T:
    """A typed instance of the dataclass `cls`, or a `ConfigError` with the path of the first wrong key."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(cls, error)}") from None


def to_mapping(instance: Any) -> dict[str, Any]:
    """The plain values of a typed instance: what `build` accepts again."""
    return TypeAdapter(type(instance)).dump_python(instance, mode="json")


def dump_yaml(raw: dict[str, Any]) -> str:
    return yaml.dump(raw, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _first_problem(cls: type, error: ValidationError) -> str:
    # In a union every alternative reports; an unknown key says more than the alternatives that did not fit at all.
    telling = {"unexpected_keyword_argument": 0, "value_error": 1, "missing": 2}
    problem = min(error.errors(), key=lambda e: telling.get(e["type"], 3))
    path = [str(part) for part in problem["loc"] if not re.search(r"[\[(]|^(str|int|float|bool)$|^literal", str(part))]
    name = ".".join(path)
    if problem["type"] == "unexpected_keyword_argument":
        keys = [".".join([*path[:-1], key]) for key in _keys_at(cls, path[:-1])]
        return f"{name}: no such key{nearest(name, keys)}"
    if problem["type"] in {"missing", "missing_argument"}:
        return f"{name}: missing"
    keys = _keys_at(cls, path)
    if keys and not isinstance(problem["input"], dict):  # a section: `--set model=resnet50`
        return f"{name}: holds keys of its own, for example {name}.{keys[0]}, got {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if problem["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message}, got {json.dumps(problem['input'], default=str)}"


def _keys_at(cls: Any, path: list[str]) -> list[str]:
    for part in path:
        fields = {field.name: field.type for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
        cls = fields.get(part)
        cls = next((arg for arg in get_args(cls) if dataclasses.is_dataclass(arg)), cls)
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
