"""Failures on request, once in a run folder unless they are to come always."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What VASP says before it stops, in a form that custodian knows.
MESSAGES = {
    "zbrent": (
        " ZBRENT: fatal error in bracketing\n"
        "     please rerun with smaller EDIFF, or copy CONTCAR\n"
        "     to POSCAR and continue"
    ),
    "edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =   7 2   8",
    "brmix": " BRMIX: very serious problems\n the old and the new charge density differ",
}

#: All failures, with what each does.
CASES = {
    "unconverged": "the forces never count as converged, so that the run goes on to NSW",
    "nelm": "from STEP on, the electronic steps reach NELM without converging",
    "hang": "falls silent within STEP, until it is ended",
    "walltime": "STEP does not end before there is a STOPCAR",
    "truncated": "dies while it writes STEP to vasprun.xml",
    "killed": "kills itself within STEP (SIGKILL)",
    "explode": "from STEP on, the energy is far too high and the forces are huge",
    "collapse": "from STEP on, the energy is far too low and the forces are huge",
    "zbrent": "stops after STEP with the message of a failed line search",
    "edddav": "stops after STEP with the message of a failed diagonalisation",
    "brmix": "stops after STEP with the message of failed charge mixing",
}

#: Failures that last until the end of the attempt that they come in.
_LASTING = {"unconverged", "nelm", "explode", "collapse"}

#: Keeps count in the run folder. Custodian neither saves nor removes it.
MEMORY = "rehearsal.json"

_REQUEST = re.compile(r"([a-z]+)(?:@(\d+))?(!?)")


@dataclass(frozen=True)
class Failure:
    """A failure that was asked for.

    Parameters
    ----------
    case : str
        One of `CASES`.
    step : int
        Ionic step of an attempt, from 1, at which it comes.
    always : bool
        In every attempt rather than once.
    """

    case: str
    step: int
    always: bool

    @classmethod
    def parse(cls, text: str) -> Failure:
        """Read ``CASE``, ``CASE@STEP`` or ``CASE@STEP!``; the step is 2 unless it is given.

        Raises
        ------
        DismaiError
            If it is none of these.
        """
        found = _REQUEST.fullmatch(text)
        if not found or found[1] not in CASES or found[2] == "0":
            raise DismaiError(
                f"--fail {text!r}: use CASE, CASE@STEP or CASE@STEP! with a step from 1 and a case "
                f"among {', '.join(CASES)}"
            )
        default = 1 if found[1] == "unconverged" else 2
        return cls(found[1], int(found[2] or default), bool(found[3]))


class Failures:
    """The failures of one attempt.

    Parameters
    ----------
    requests : sequence of Failure
        Those asked for. One that came in an attempt before does not come again, and an attempt
        meets one that ends it at most, so that those of one step come one after the other.
    folder : Path
        The run folder, which remembers what came.

    Raises
    ------
    DismaiError
        If what the folder remembers cannot be read.
    """

    def __init__(self, requests: Sequence[Failure], folder: Path) -> None:
        self._path = folder / MEMORY
        self._requests = requests
        self._lasting: set[str] = set()
        attempts, self._came = self._remembered()
        self.attempt = attempts + 1
        self._remember()

    def due(self, step: int) -> str | None:
        """Return the failure that ends the attempt within or after a step, if there is one.

        It counts as come from now on: what it does may leave no time to say so.
        """
        for number, request in enumerate(self._requests):
            if number in self._came and not request.always:
                continue
            if request.case in _LASTING:
                if request.step <= step:
                    self._lasting.add(request.case)
                    self._note(number)
            elif request.step == step:
                self._note(number)
                return request.case
        return None

    def lasts(self, case: str) -> bool:
        """Return whether a failure of those that last has come in this attempt."""
        return case in self._lasting

    def _note(self, number: int) -> None:
        self._came.add(number)
        self._remember()

    def _remembered(self) -> tuple[int, set[int]]:
        if not self._path.is_file():
            return 0, set()
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
            return int(said["attempts"]), {int(number) for number in said["came"]}
        except (OSError, ValueError, KeyError, TypeError):
            raise DismaiError(f"{self._path}: damaged; remove it to begin anew") from None

    def _remember(self) -> None:
        draft = self._path.with_suffix(".tmp")
        said = {"attempts": self.attempt, "came": sorted(self._came)}
        draft.write_text(json.dumps(said) + "\n", encoding="utf-8")
        draft.replace(self._path)
