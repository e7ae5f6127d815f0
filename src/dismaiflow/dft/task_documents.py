"""atomate2's document of a VASP run, cut down to what a store can hold for thousands of runs."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

#: Largest document of a task, bytes as JSON.
MAX_TASK_BYTES = 300_000

#: What is kept. Structures and ionic steps are elsewhere in a `RunDoc`; both grow with the atoms.
_KEPT = (
    "task_label",
    "state",
    "task_type",
    "calc_type",
    "run_type",
    "vasp_version",
    "formula_pretty",
    "chemsys",
    "nsites",
    "volume",
    "density",
    "completed_at",
    "input",
    "output",
    "analysis",
    "run_stats",
    "custodian",
)

#: What of these goes first when there is too much, largest first.
_EXPENDABLE = (
    ("input", "structure"),
    ("output", "structure"),
    ("input", "parameters"),
    ("output", "forces"),
    ("output", "outcar"),
    ("custodian",),
    ("analysis",),
    ("input",),
    ("output",),
)

#: What is not read in the first place.
_LEFT_OUT = {
    "store_volumetric_data": (),
    "store_additional_json": False,
    "parse_bandstructure": False,
    "parse_dos": False,
}

#: Structures are never kept: the first of the list above.
_STRUCTURES = 2


def trimmed_task(folder: Path, label: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return what atomate2 reads from a folder, without structures and ionic steps.

    Parameters
    ----------
    folder : Path
        Where VASP ran.
    label : str
        Name of the task.
    options : dict
        For `TaskDoc.from_directory`.

    Returns
    -------
    dict or None
        Plain data of less than `MAX_TASK_BYTES`; None where atomate2 cannot read the outputs,
        as after a run that died: what is there is harvested in another way.
    """
    from atomate2.vasp.jobs.base import get_vasp_task_document
    from monty.json import jsanitize

    wanted = {**_LEFT_OUT, **options}
    with warnings.catch_warnings():
        # On licences, and on a line for each atom that may not move.
        warnings.simplefilter("ignore", UserWarning)
        try:
            task = get_vasp_task_document(folder, **wanted)
        except Exception:  # noqa: BLE001 (a parser of others on the outputs of a dead run)
            return None
        task.task_label = label
        plain = task.model_dump(include=set(_KEPT), mode="python")
    data: dict[str, Any] = jsanitize(plain, strict=True, enum_values=True, allow_bson=False)
    for number, path in enumerate(_EXPENDABLE):
        if number >= _STRUCTURES and len(json.dumps(data)) < MAX_TASK_BYTES:
            break
        with suppress(KeyError, TypeError):
            _drop(data, path)
    return data


def _drop(data: dict[str, Any], path: tuple[str, ...]) -> None:
    for key in path[:-1]:
        data = data[key]
    del data[path[-1]]
