"""The command, run in this process on a small alloy, in a home of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from dismaiflow.cli import main
from dismaiflow.systems import new_system_yaml
from models.outside_models import COUNTER, SHELL, SHELL_YAML, SITES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

#: Sizes with which a dataset of the small alloy takes a second.
SMALL = ("--n", "30", "--n-passes", "200", "--n-runs", "2")

#: Where ``pip`` put the command.
EXECUTABLE = Path(sys.executable).with_name("dismai")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line with which a wrong input was refused."""
        assert self.code == 2, (self.code, self.err)
        assert self.out == ""
        assert self.err.startswith("dismai: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("dismai: ").rstrip("\n")

    @property
    def words(self) -> str:
        """What was printed, without line breaks and the space of tables."""
        assert self.code == 0, self.err
        return " ".join(self.out.split())


class Dismai:
    """Runs the command.

    Parameters
    ----------
    root : Path
        Folder with its home and its store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.store = root / "store.sqlite"
        self.home.mkdir()

    def __call__(self, *words: object, **variables: object) -> Ran:
        """Run it in this process."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            self._clean(patch)
            for name, value in self._environment(variables).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["dismai", *map(str, words)])
            code: object = 0
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    main.main()
                except SystemExit as exit_:
                    code = exit_.code
        assert isinstance(code, int), code
        return Ran(code, out.getvalue(), err.getvalue())

    def popen(self, *words: object, cwd: Path, **variables: object) -> subprocess.Popen[str]:
        """Start it as people do."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DISMAI_")}
        return subprocess.Popen(
            [EXECUTABLE, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment | self._environment(variables),
            # Control-C is off in what a script runs in its background, and in its children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def execute(self, *words: object, cwd: Path, **variables: object) -> Ran:
        """Run it as people do."""
        process = self.popen(*words, cwd=cwd, **variables)
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Ran(process.returncode, out, err)

    def _environment(self, variables: dict[str, object]) -> dict[str, str]:
        given = {
            "HOME": self.home,
            "DISMAI_STORE_PATH": self.store,
            "DISMAI_N_CONTROL": 20,
            "COLUMNS": 200,
        }
        return {name: str(value) for name, value in (given | variables).items()}

    @staticmethod
    def _clean(patch: pytest.MonkeyPatch) -> None:
        for name in list(os.environ):
            if name.startswith("DISMAI_"):
                patch.delenv(name)


@pytest.fixture(scope="session")
def dismai(tmp_path_factory: pytest.TempPathFactory) -> Dismai:
    """Return the command, with a home and a store that the tests share."""
    return Dismai(tmp_path_factory.mktemp("dismai"))


@pytest.fixture(scope="session")
def spec(dismai: Dismai) -> Path:
    """Return the file of a small alloy, Cu81Au27."""
    path = dismai.root / "tiny.yaml"
    path.write_text(new_system_yaml("alloy", "tiny"))
    return path


@pytest.fixture(scope="session")
def data(dismai: Dismai, spec: Path) -> Path:
    """Return a dataset of it, with the scores of its controls."""
    made = dismai("dataset", spec, "--out", dismai.root / "data", *SMALL, "--json")
    assert made.code == 0, made.err
    return dismai.root / "data" / "tiny"


@pytest.fixture(scope="session")
def frames(data: Path) -> Sequence[Atoms]:
    """Return 100 structures as a good model would make them: those of the dataset, rattled."""
    known = [a for part in ("train", "val") for a in ase.io.read(data / f"{part}.extxyz", ":")]
    rng = np.random.default_rng(0)
    made = [known[i % len(known)].copy() for i in range(100)]
    for atoms in made:
        atoms.info.clear()
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return tuple(made)


@pytest.fixture
def write(tmp_path: Path, frames: Sequence[Atoms]) -> Callable[..., Path]:
    """Return a function that writes an extxyz file: these structures, or so many good ones."""

    def writer(structures: Sequence[Atoms] | int = 6, name: str = "gen.extxyz") -> Path:
        chosen = frames[:structures] if isinstance(structures, int) else structures
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(path, [atoms.copy() for atoms in chosen], format="extxyz")
        return path

    return writer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a disk of a size; the test is skipped where none can be."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk_{len(mounted)}"
        folder.mkdir()
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode or not folder.is_mount():
            pytest.skip("mounting needs root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder, hidden files too, with the bytes of each file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Assert that the block changes nothing in a folder."""
    before = contents(folder)
    yield
    assert contents(folder) == before


@pytest.fixture
def refused(
    dismai: Dismai, spec: Path, data: Path, write: Callable[..., Path], tmp_path: Path
) -> Callable[..., str]:
    """Return a function that scores, expects a refusal and returns its line.

    What is not given is in order; the folder of the test stays as it is.
    """
    good = write(6, "good/good.extxyz")

    def run(
        *words: object,
        system: object = spec,
        generated: object = good,
        reference: object = data,
        out: object = tmp_path / "new" / "out",
        **variables: object,
    ) -> str:
        given = ("score", system, generated, "--reference", reference, "--out", out, "--json")
        with unchanged(tmp_path), unchanged(data):
            return dismai(*given, *words, **variables).refusal

    return run


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, which is the current one, with models that are not of the package."""
    (tmp_path / "thirty_lines.py").write_text(SITES)
    (tmp_path / "counting.py").write_text(COUNTER)
    script = tmp_path / "model.sh"
    script.write_text(SHELL)
    script.chmod(0o755)
    (tmp_path / "shell.yaml").write_text(SHELL_YAML)
    monkeypatch.chdir(tmp_path)
    return tmp_path
