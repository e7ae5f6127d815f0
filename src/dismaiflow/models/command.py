"""Any outside model as two command lines: extended XYZ in and out, no shell, no import.

A YAML file names the model and its commands as lists of words::

    name: my-model
    train: [python, train.py, --data, "{train}", --work, "{folder}", --seed, "{seed}"]
    generate: [python, sample.py, --work, "{folder}", --n, "{n}", --out, "{out}"]

Exit code 0 means done, 75 (EX_TEMPFAIL) that a checkpoint was written and the command is to be
given again. Anything else is a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dismaiflow.errors import DismaiError, first_problem
from dismaiflow.models.base import FitResult, ModelCard
from dismaiflow.structures.dataset import extxyz_text
from dismaiflow.structures.files import file_sha256, lock, write_text
from dismaiflow.structures.read import ReadStructures, read_structures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.models.base import Budget, ModelData

#: Exit code of a command that has written a checkpoint and wants to be run again.
CHECKPOINTED = 75

#: Words that commands may have, in braces.
TRAIN_WORDS = ("train", "val", "dataset", "folder", "seed", "max_seconds")
GENERATE_WORDS = ("folder", "n", "seed", "out")

#: Variables of our own environment that would mislead a Python of another one.
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")

#: Seconds in which a command that was told to stop may write its checkpoint.
GRACE_SECONDS = 60.0

#: Seconds between two looks at a running command, and lines of its log that an error quotes.
_POLL, _QUOTED = 0.1, 3

#: What tells how far a training came.
_STATE_NAME = ".command.json"

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_Words = Annotated[list[str], Field(min_length=1)]


class CommandSpec(BaseModel):
    """What the YAML file of a command model says.

    Parameters
    ----------
    name, description, citation, licence : str
        For the card.
    train, generate : list of str
        The commands, a word each. A first word with a slash is a path from the YAML file.
    env : dict of str to str
        Variables that are set for both.
    category : {"cpu", "gpu"}
        Kind of worker that runs it.
    folder : str
        Folder of the YAML file, in which commands run.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    description: str = "a model in an environment of its own"
    citation: str = ""
    licence: str = ""
    train: _Words
    generate: _Words
    env: dict[str, str] = Field(default_factory=dict)
    category: str = Field("gpu", pattern="^(cpu|gpu)$")
    folder: str = ""

    @field_validator("train")
    @classmethod
    def _check_train(cls, words: list[str]) -> list[str]:
        return _known_words(words, TRAIN_WORDS)

    @field_validator("generate")
    @classmethod
    def _check_generate(cls, words: list[str]) -> list[str]:
        if not any("{out}" in word for word in words):
            raise ValueError("needs the word {out}, the file that it is to write")
        return _known_words(words, GENERATE_WORDS)


def read_command(path: Path) -> dict[str, Any]:
    """Read the YAML file of a command model.

    Returns
    -------
    dict
        Its content as plain data, with its folder, for `CommandModel`.

    Raises
    ------
    DismaiError
        If it cannot be read, or says something else than a command model does.
    """
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = str(error).splitlines()[0]
        raise DismaiError(f"{path}: is no YAML file ({why})") from None
    if not isinstance(found, dict):
        raise DismaiError(f"{path}: must name a model and its commands: name, train, generate")
    found = {"folder": str(path.absolute().parent)} | found
    return _checked(found, str(path)).model_dump()


def _checked(found: Mapping[str, Any], source: str) -> CommandSpec:
    try:
        return CommandSpec.model_validate(found)
    except ValidationError as error:
        raise DismaiError(f"{source}: {first_problem(error)}") from None


def _known_words(words: list[str], known: tuple[str, ...]) -> list[str]:
    for word in words:
        for name in _PLACEHOLDER.findall(word):
            if name not in known:
                raise ValueError(
                    f"{{{name}}} is not known here; {', '.join(f'{{{one}}}' for one in known)} are"
                )
    return words


class CommandModel:
    """A model given by two command lines.

    Parameters
    ----------
    command : mapping
        What `read_command` has returned.

    Raises
    ------
    DismaiError
        If it is no such thing.
    """

    def __init__(self, command: Mapping[str, Any]) -> None:
        self.spec = _checked(command, "command model")

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> FitResult:
        """Run the training command; see `GenerativeModel.fit`.

        A command that a budget ends is told by SIGTERM, and killed if it goes on for longer than
        `GRACE_SECONDS`.

        Raises
        ------
        DismaiError
            If it cannot be started, or fails.
        """
        began = time.monotonic()
        state = _read_state(folder)
        given = folder / "data"
        given.mkdir(exist_ok=True)
        work = folder / "work"
        work.mkdir(exist_ok=True)
        words = _write_data(data, given)
        left = budget.left
        words |= {
            "folder": str(work),
            "seed": str(seed),
            "max_seconds": "" if left is None else str(max(int(left), 1)),
        }
        code = self._run("train", self.spec.train, words, folder, budget)
        state = {
            "launches": state["launches"] + 1,
            "seconds": state["seconds"] + time.monotonic() - began,
        }
        write_text(folder / _STATE_NAME, json.dumps(state))
        finished = code == 0
        if finished:
            shutil.rmtree(given)
        return FitResult(finished, state["launches"], 0, state["seconds"])

    def sample(self, folder: Path, n: int, *, seed: int) -> ReadStructures:
        """Run the generating command and read what it has written.

        Raises
        ------
        DismaiError
            If it cannot be started, fails, or writes no structures that can be read.
        """
        out = folder / "generated.extxyz"
        out.unlink(missing_ok=True)
        words = {"folder": str(folder / "work"), "n": str(n), "seed": str(seed), "out": str(out)}
        code = self._run("generate", self.spec.generate, words, folder, None)
        if code != 0:
            raise DismaiError(
                f"{self.spec.name}: generate ended with {code}, which is for training"
            )
        if not out.exists():
            raise DismaiError(f"{self.spec.name}: generate ended well, but wrote no {{out}} file")
        return read_structures(out)

    def card(self) -> ModelCard:
        """Describe the model."""
        spec = self.spec
        return ModelCard(
            name=spec.name,
            description=spec.description,
            settings={"train": spec.train, "generate": spec.generate, "env": spec.env},
            citation=spec.citation,
            licence=spec.licence,
            category=spec.category,
        )

    def _run(
        self,
        what: str,
        command: list[str],
        words: Mapping[str, str],
        folder: Path,
        budget: Budget | None,
    ) -> int:
        """Run a command to its end; its output goes to a log in the folder."""
        home = Path(self.spec.folder) if self.spec.folder else Path.cwd()
        argv = [_filled(word, words) for word in command]
        argv[0] = _program(argv[0], home)
        log = folder / f"{what}.log"
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        try:
            with log.open("ab") as stream:
                _claim(stream, self.spec.name, folder)
                process = subprocess.Popen(
                    argv,
                    cwd=home if home.is_dir() else folder,
                    env=kept | self.spec.env,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                code = _wait(process, budget)
        except OSError as error:
            raise DismaiError(
                f"{self.spec.name}: cannot run {argv[0]} ({error.strerror}): mend the command "
                f"{what!r} in its YAML file"
            ) from None
        told = budget is not None and budget.over
        if code in (0, CHECKPOINTED) and (code == 0 or what == "train"):
            return code
        if told and code == -signal.SIGTERM and what == "train":
            # It does not write checkpoints when it is told to, and may have written one before.
            return CHECKPOINTED
        raise DismaiError(f"{self.spec.name}: {what} failed with {_ended(code)}: {_tail(log)}")


def _wait(process: subprocess.Popen[bytes], budget: Budget | None) -> int:
    """Wait for a command, and tell it to stop when the budget is over."""
    told: float | None = None
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=_POLL)
                if told is not None:
                    _end_children(process.pid, told + GRACE_SECONDS)
                return code
            if budget is None or not budget.over:
                continue
            if told is None:
                told = time.monotonic()
                _signal(process, signal.SIGTERM)
            elif time.monotonic() - told > GRACE_SECONDS:
                _signal(process, signal.SIGKILL)
    except BaseException:
        _signal(process, signal.SIGKILL)
        process.wait()
        raise


def _end_children(group: int, until: float) -> None:
    """Let what a command has started, and did not wait for, write its checkpoint.

    A shell ends by a signal at once, unless it was told otherwise, and leaves its programs behind.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < until:
            os.killpg(group, 0)  # raises if nobody is left
            time.sleep(_POLL)
        os.killpg(group, signal.SIGKILL)


def _claim(log: BinaryIO, name: str, folder: Path) -> None:
    """Lock a log, which the command inherits: as long as it lives there is no other one.

    Raises
    ------
    DismaiError
        If one lives, which a job that was killed has left behind.
    """
    if not lock(log):
        raise DismaiError(
            f"{name}: a command that was started before still works in {folder}; wait for it, or "
            "end it"
        )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a command and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def _filled(word: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words[found[1]], word)


def _program(name: str, home: Path) -> str:
    """Return the program of a command; one with a slash lies beside the YAML file."""
    if "/" not in name:
        return name
    return str(home / Path(name).expanduser())


def _write_data(data: ModelData, folder: Path) -> dict[str, str]:
    """Write what a command learns from, and return the words for it."""
    sets = {"train": data.train}
    if data.val is not None:
        sets["val"] = data.val
    paths = {}
    for name, structures in sets.items():
        paths[name] = folder / f"{name}.extxyz"
        write_text(paths[name], extxyz_text(structures))
    first = data.train.atoms(0)
    described = {
        "system": data.spec.name if data.spec is not None else None,
        "kind": data.spec.kind if data.spec is not None else None,
        "composition": dict(first.symbols.formula.count()),
        "cell": data.train.cells[0].tolist(),
        "counts": {name: len(structures) for name, structures in sets.items()},
        "sha256": {path.name: file_sha256(path) for path in paths.values()},
    }
    card = folder / "dataset.json"
    write_text(card, json.dumps(described, indent=1))
    found = {name: str(path) for name, path in paths.items()}
    return {"val": "", **found, "dataset": str(card)}


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _STATE_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        found = {"launches": 0, "seconds": 0.0}
    return found


def _ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _tail(log: Path) -> str:
    """Return the last lines of a log in one line."""
    lines = log.read_text("utf-8", errors="replace").split("\n")
    last = [line.strip() for line in lines if line.strip()][-_QUOTED:]
    return " | ".join(last)[-300:] or "it said nothing"
