"""The rules of the house that a test can guard: who imports whom, one file per third party, no competition in code."""

import ast
import re
from pathlib import Path

import pytest

from kit.about import DEFAULT_CONFIG

KIT = Path(__file__).resolve().parent.parent / "kit"
FLOORS = (  # from the top: what stands in one imports what is below it, and within its own room
    {"__main__"},
    {"cli"},
    {"pipeline", "tools"},
    {"stages", "describe"},
    {"runners"},
    {"run"},
    {"data", "models", "training", "inference", "scoring", "kaggle", "tracking", "search"},
    {"device", "metrics"},
    {
        "config", "competition", "consistent", "settings", "batch", "events", "tasks", "workspace", "artifacts",
        "console", "errors", "schema", "about", "randomness", "allocator", "processes", "figures", "following", "locks",
        "joined", "sections",
    },
)  # fmt: skip
GROUND_ASKS = {
    ("competition", "metrics"),
    ("consistent", "metrics"),
}  # a competition's YAML asks a metric what it scores
SEAMS = {
    "albumentations": "data/transforms.py", "timm": "models/pretrained.py", "matplotlib": "figures/",
    "seaborn": "figures/base.py", "rich": "console.py", "jinja2": "tools/report.py", "cleanlab": "tools/audit.py",
    "typer": "cli/", "filelock": "locks.py", "optuna": "search/study.py", "ray": "runners/ray.py",
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
            folder = KIT.parent.joinpath(*node.module.split("."))
            if folder.is_dir():
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def _floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(KIT)))
def test_imports_only_go_down(path):
    room = _room(path)
    if room == "__init__":  # the package's face names what it hands on
        return
    for module in _imports(path):
        target = module.split(".")[1] if module.startswith("kit.") else ""
        target = target if (KIT / target).is_dir() or (KIT / f"{target}.py").is_file() else ""
        if not target or target == room or (room, target) in GROUND_ASKS:
            continue
        ground = _floor(room) == _floor(target) == len(FLOORS) - 1
        verbs = {room, target} == {"pipeline", "tools"}
        assert _floor(target) > _floor(room) or ground or verbs, f"{path.relative_to(KIT)} imports {module}"


def test_the_imports_hold_no_circle():
    graph = {}
    for path in FILES:
        name = "kit." + ".".join(path.relative_to(KIT).with_suffix("").parts)
        if name != "kit.__init__":  # lazy
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
    named = re.compile(r"\b(import|from) kaggle|[\"']kagglesdk\.")  # imported where it is used, some by its name
    users = {_room(path) for path in FILES if named.search(path.read_text())}
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
    """STYLE's 250 lines; the Kaggle client's calls belong together."""
    for path in FILES:
        most = 270 if path.name == "client.py" else 250
        assert len(path.read_text().splitlines()) <= most, f"{path.relative_to(KIT)} holds two things"


def test_only_the_device_room_names_an_accelerator():
    for path in FILES:
        if _room(path) != "device":
            tree = ast.parse(path.read_text())
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    assert node.attr not in {"cuda", "mps", "xpu"}, f"{path.relative_to(KIT)}:{node.lineno}"
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    assert not re.search(r"\b(cuda|mps|xpu)\b|CUDA_", node.value), (
                        f"{path.relative_to(KIT)}:{node.lineno}"
                    )


def test_only_a_runs_own_room_names_its_files():
    names = {"experiment.yaml", "last.ckpt", "model.safetensors", "metrics.jsonl", "oof.csv", "test.csv", "cv.json"}
    for path in FILES:
        if path.relative_to(KIT).parts != ("run", "files.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                assert not (isinstance(node, ast.Constant) and node.value in names), path.relative_to(KIT)
