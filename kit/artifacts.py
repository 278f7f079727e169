"""What stages make. Whether it already exists, made of exactly these inputs, is decided here for all of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kit import console
from kit.workspace import read_json, write_json


@dataclass(frozen=True)
class Artifact:
    """Files that a stage makes together. `inputs`: a fingerprint of everything that decides their content. `stamp`: the
    file, written last, that records the inputs and `facts` about the outputs. `name` is what the screen calls them."""

    name: str
    stamp: Path
    inputs: str
    outputs: Sequence[Path]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Are all its files there, made of these inputs?"""
        if not self.stamp.is_file() or not all(path.exists() for path in self.outputs):
            return False
        return read_json(self.stamp).get("inputs") == self.inputs

    @contextmanager
    def making(self) -> Iterator[Self]:
        """Make the files inside this context: a kill halfway leaves no stamp."""
        self.stamp.unlink(missing_ok=True)
        yield self
        write_json(self.stamp, {"inputs": self.inputs, **self.facts})


def to_make(stage: str, artifacts: Sequence[Artifact], force: bool = False) -> list[Artifact]:
    """Those not done yet, or all of them with `force`; the screen says which are up to date."""
    missing = [artifact for artifact in artifacts if force or not artifact.is_done]
    for artifact in artifacts:
        if artifact not in missing:
            console.stage(stage, f"{artifact.name} is up to date")
    return missing
