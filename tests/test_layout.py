"""What holds for all files of the repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import dismaiflow

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dismaiflow"

#: Longest file of the package, in lines.
MAX_LINES = 500

#: Packages that take long to import, or that not everybody has.
HEAVY = (
    "ase",
    "jobflow",
    "maggma",
    "matplotlib",
    "neosqlite",
    "numba",
    "plotly",
    "pymatgen",
    "pymongo",
    "scipy",
    "torch",
)

#: Folders of whoever wrote a file.
PERSONAL = re.compile(r"(?<![\w.$~}])/(?:home|Users|root)/\w+")


@cache
def documents() -> tuple[Path, ...]:
    """Return the text files of the repository: those that git knows or would add."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git repository here")
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return tuple(p for p in paths if p.is_file() and b"\0" not in p.read_bytes()[:8000])


def loaded(statement: str) -> set[str]:
    """Return the top-level packages that a statement loads in a fresh interpreter."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_files_are_short() -> None:
    """A newcomer reads a file in one go."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_imports_run_one_way() -> None:
    """The contracts of pyproject.toml hold."""
    code = "from importlinter.cli import lint_imports as run; raise SystemExit(run(no_cache=True))"
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_is_in_the_contracts() -> None:
    """A new room cannot forget to say where it stands."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if c["type"] == "layers")["layers"]
    named = set(re.findall(r"\w+", " ".join(layers)))
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert (rooms | modules) - named == set()


def test_every_room_says_what_it_is() -> None:
    """The first line of each package and module."""
    without = [
        str(path.relative_to(ROOT))
        for path in SOURCE.rglob("*.py")
        if not path.read_text("utf-8").lstrip().startswith('"""')
    ]
    assert without == []


def test_the_command_starts_light() -> None:
    """Help and wrong words are answered before anything heavy is imported."""
    assert loaded("import dismaiflow.cli.main") & set(HEAVY) == set()
    assert "numpy" not in loaded("import dismaiflow")


@pytest.mark.parametrize(
    "module",
    [
        "dismaiflow.metrics.clusters",
        "dismaiflow.structures.structure_set",
        "dismaiflow.alloy.monte_carlo",
        "dismaiflow.systems",
        "dismaiflow.models.baselines",
    ],
)
def test_science_loads_no_workflow_engine(module: str) -> None:
    """Not even indirectly."""
    engines = {"jobflow", "maggma", "fireworks", "pymongo", "torch", "plotly", "typer"}
    assert loaded(f"import {module}") & engines == set()


def test_no_file_names_a_folder_of_this_machine() -> None:
    """Neither where the repository lies, nor anybody's home."""
    here = {str(ROOT), str(Path(sys.prefix))}
    home = str(Path.home())
    if home not in ("/", "/root"):
        here.add(home)
    if len(ROOT.parent.parts) > 1 and ROOT.parent.name not in ("tmp", "home", "opt", "src"):
        here.add(f"{ROOT.parent}/")
    found = {}
    for path in documents():
        text = path.read_text("utf-8", errors="replace")
        hits = {place for place in here if place in text} | set(PERSONAL.findall(text))
        if hits:
            found[str(path.relative_to(ROOT))] = sorted(hits)
    assert found == {}


def test_the_version_is_that_of_the_package() -> None:
    """One number in both places."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert dismaiflow.__version__ == project["version"]
