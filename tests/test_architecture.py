"""The rules of the house that a test can guard: who imports whom, one file per third party, no competition in code."""

import ast
from pathlib import Path

import pytest

from kit.config import DEFAULT_CONFIG

KIT = Path(__file__).resolve().parent.parent / "kit"
GROUND = {
    "config", "competition", "tasks", "workspace", "console", "errors", "schema", "randomness", "run_folder", "machine",
    "plan", "allocator",
}  # fmt: skip
PARTS = {"data", "models", "training", "inference", "scoring", "kaggle", "figures"}
VERBS = {"stages", "tools"}
SEAMS = {
    "albumentations": "data/transforms.py", "timm": "models/pretrained.py", "matplotlib": "figures.py",
    "seaborn": "figures.py", "rich": "console.py", "jinja2": "tools/report.py", "cleanlab": "tools/audit.py",
    "typer": "cli/",
}  # fmt: skip
FILES = sorted(KIT.rglob("*.py"))


def _room(path: Path) -> str:
    first = path.relative_to(KIT).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module in {"kit", "kit.stages", "kit.tools"}
            }
    return modules


def _allowed(path: Path, target: str) -> bool:
    room = _room(path)
    if room in {"cli", "__init__", "__main__"}:
        return True
    if target in GROUND or target in {"__version__", ""}:
        return True
    if room == "assembly":
        return target in PARTS or target == room
    if room in VERBS:
        return target in PARTS or target == "assembly"
    return room in PARTS and target == room


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(KIT)))
def test_imports_only_go_down(path):
    own_stage = f"kit.{'.'.join(path.relative_to(KIT).with_suffix('').parts)}"
    for module in _imports(path):
        if module != "kit" and module.startswith("kit.") and module != own_stage:
            assert _allowed(path, module.split(".")[1]), f"{path.relative_to(KIT)} imports {module}"


def test_the_imports_hold_no_circle():
    graph = {}
    for path in FILES:
        name = "kit." + ".".join(path.relative_to(KIT).with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = {m for m in _imports(path) if m.startswith("kit.")}

    def visit(node: str, trail: tuple[str, ...]) -> None:
        assert node not in trail, f"circle: {' -> '.join([*trail, node])}"
        for target in graph.get(node, ()):
            if target in graph and target != node and not node.startswith(target + "."):
                visit(target, (*trail, node))

    for node in graph:
        visit(node, ())


@pytest.mark.parametrize(("package", "home"), SEAMS.items())
def test_each_third_party_seam_is_one_file(package, home):
    users = {str(path.relative_to(KIT)) for path in FILES if any(m.split(".")[0] == package for m in _imports(path))}
    assert users
    assert all(user == home or (home.endswith("/") and user.startswith(home)) for user in users), users


def test_kaggle_stays_in_its_room():
    users = {_room(path) for path in FILES if any(m.split(".")[0] in {"kaggle", "kagglesdk"} for m in _imports(path))}
    assert users == {"kaggle"}


def test_no_competition_is_named_in_code():
    names = [file.stem for file in (KIT.parent / "configs" / "competitions").glob("*.yaml")]
    for path in FILES:
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if id(node) not in docstrings and text != DEFAULT_CONFIG:
                words = text.lower().replace(". ", "-").replace(" ", "-")
                used = [name for name in names if name in words and name != "digits"]
                assert not used, f"{path.relative_to(KIT)}:{node.lineno} names {used}"


def test_no_room_is_too_large():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 275, f"{path.relative_to(KIT)} holds two things"
