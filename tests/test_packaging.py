"""What an installation brings: every room, the configs, and all that is imported."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMPORTED_AS = {
    "pyyaml": "yaml", "pillow": "PIL", "scikit-learn": "sklearn", "kaggle": "kagglesdk",
}  # fmt: skip
NOT_IMPORTED = {"six", "kagglesdk"}  # by kaggle alone, and by its name where it is used
BROUGHT = {"cv2", "kagglesdk"}  # by albumentations and by kaggle


def _names(lines: list[str]) -> set[str]:
    names = {re.split(r"[<>=;\s#]", line, maxsplit=1)[0].lower() for line in lines if line and not line.startswith("#")}
    return {IMPORTED_AS.get(name, name) for name in names}


def test_every_room_is_a_package_of_the_wheel():
    rooms = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "kit").rglob("__init__.py")}
    configs = {"kit.configs", "kit.configs.competitions"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == rooms | configs


def test_what_is_imported_is_required_and_no_check_is():
    runs = _names((ROOT / "requirements.txt").read_text().splitlines())
    imported = set()
    for file in (ROOT / "kit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            imported |= {module.split(".")[0] for module in modules}
    third_party = imported - set(sys.stdlib_module_names) - {"kit"}
    extras = PROJECT["project"]["optional-dependencies"]
    asked_for = set().union(*(_names(names) for extra, names in extras.items() if extra != "dev"))
    assert third_party <= runs | BROUGHT | asked_for
    assert runs - NOT_IMPORTED <= third_party
    assert not _names(extras["dev"]) & runs


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_folder(tmp_path):
    pytest.importorskip("setuptools", reason="builds a wheel without a network")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("no git checkout")
    for name in files:
        if name.startswith(("kit/", "configs/")) or "/" not in name:
            target = tmp_path / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=tmp_path / "source", check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    assert "Requires-Dist: torch>=" in metadata
    empty = tmp_path / "empty"
    empty.mkdir()
    code = (
        "import kit; from kit import Experiment, Competition; "
        "e = Experiment.load('configs/demo.yaml'); print(kit.__file__, e.name, Competition.load(e.competition).name)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    said = subprocess.run([sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True)
    assert said.stdout.split()[1:] == ["demo", "digits"], said.stderr
    assert said.stdout.startswith(str(tmp_path / "site"))
