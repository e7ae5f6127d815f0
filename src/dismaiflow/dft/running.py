"""A run of VASP from its inputs to its frames, in a folder of its own, under custodian."""

from __future__ import annotations

import copy
import gzip
import os
import shlex
import shutil
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.dft.commands import check_command, potcar_fault, rehearsal_command
from dismaiflow.dft.continuation import continued, goes_on, shifted_rule, steps_before
from dismaiflow.dft.documents import earlier_run, is_dead_end, passed_on, run_document
from dismaiflow.dft.harvest import HarvestRule, read_run
from dismaiflow.dft.input_sets import sorted_sites
from dismaiflow.dft.schemas import RunDoc, resolve_structure
from dismaiflow.dft.task_documents import trimmed_task
from dismaiflow.errors import DismaiError
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.structures.files import explain_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from dismaiflow.dft.harvest import HarvestedRun
    from dismaiflow.dft.makers import VaspMaker
    from dismaiflow.dft.schemas import StoredStructure

#: Seconds between two looks of custodian at the stand-in, whose steps take less than one.
_REHEARSAL_POLLING = 0.2

#: Looks after which custodian reads the outputs, to find what goes wrong: not before a restarted
#: stand-in, which begins within a second, has emptied those of the attempt before.
_REHEARSAL_LOOKS = 8

#: custodian's note of when the walltime began, which it would keep for the next run.
_WALLTIME_START = "CUSTODIAN_WALLTIME_START"

#: What a folder holds in which VASP has run or is to run.
_VASP_FILES = ("INCAR", "POSCAR", "OUTCAR", "vasprun.xml", "custodian.json")

_VERSIONED = ("dismaiflow", "atomate2", "custodian", "emmet-core", "pymatgen")


def run_relaxation(
    maker: VaspMaker,
    given: Structure | StoredStructure | RunDoc,
    prev_dir: str | Path | None = None,
    parent: str | None = None,
) -> RunDoc:
    """Run VASP on a structure, within a job.

    Parameters
    ----------
    maker : VaspMaker
        What is run, and how.
    given : Structure, StoredStructure or RunDoc
        The structure, where it is, or the earlier run that has left it.
    prev_dir : path-like, optional
        Folder of an earlier run, of which files are copied.
    parent : str, optional
        Name of the structure.

    Returns
    -------
    RunDoc
        How it ended, whatever VASP did.

    Raises
    ------
    DismaiError
        If VASP could not even begin: no command, no potentials, no place to work. To run the job
        again after that is mended is safe.
    """
    earlier = earlier_run(given)
    start: Any = given
    if earlier is not None:
        if is_dead_end(earlier):
            return passed_on(earlier, maker.stage, parent, _VERSIONED)
        start, parent = earlier.structure, parent or earlier.parent
    structure, name = resolve_structure(current_jobstore(), start, maker.stage == "region")
    name = parent or name
    start_at = structure.frac_coords
    structure, order = sorted_sites(structure)
    if maker.rehearsal is None:
        check_command(maker.run_vasp_kwargs)
    folder = _own_folder()
    with chdir(folder):
        _write_inputs(maker, structure, prev_dir)
        trouble = _run(maker)
        task = trimmed_task(folder, maker.name, maker.task_document_kwargs)
        rule = HarvestRule(first=maker.harvest_first, interval=maker.harvest_interval)
        before = earlier if goes_on(earlier, maker.stage) else None
        own = rule if before is None else shifted_rule(rule, steps_before(before))
        free = _free_atoms(maker, structure, order)
        harvested = read_run(folder, own, order, name, free, start=start_at)
        _zip(folder)
    if trouble and not harvested.n_steps and not _began(folder):
        raise DismaiError(f"VASP wrote nothing in {folder} ({trouble}): {_last_words(folder)}")
    told = _told(harvested, trouble)
    document = run_document(current_jobstore(), told, name, maker.stage, folder, _VERSIONED)
    if before is not None:
        document = continued(current_jobstore(), before, document, rule)
    return document.model_copy(update={"task": task})


def _own_folder() -> Path:
    """Return a folder in which nothing has run: that of the launch, or a new one.

    A folder of a FireWorks launch is where people look for the files of a job. Any other may be
    someone's home, shared with the job beside this one, or gone when the command ends.
    """
    from jobflow import CURRENT_JOB

    here = Path.cwd()
    names = {path.name for path in here.iterdir()}
    used = any(name.startswith(file) for name in names for file in _VASP_FILES)
    # Those of FireWorks, by their name where it is told to write no FW.json; and those that jobflow
    # makes for local runs, if it is asked to.
    launched = "FW.json" in names or here.name.startswith("launcher_")
    launched = launched or (not names and here.name.startswith("job_"))
    if launched and not used:
        return here
    root = load_settings().SCRATCH_DIR / "dft"
    job = CURRENT_JOB.job
    label = f"{job.uuid}-{job.index}" if job is not None else f"run-{os.getpid()}"
    for attempt in range(1, 1000):
        folder = root / (label if attempt == 1 else f"{label}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue  # an earlier try of this job, whose files may still be wanted
        except OSError as error:
            raise DismaiError(f"{explain_os_error(error, root)} (DISMAI_SCRATCH_DIR)") from None
        return folder
    raise DismaiError(f"{root}: a thousand tries of job {label}: remove them")


def _write_inputs(maker: VaspMaker, structure: Structure, prev_dir: str | Path | None) -> None:
    from atomate2.vasp.files import write_vasp_input_set
    from monty.serialization import dumpfn

    if prev_dir is not None:
        names = maker.copy_vasp_kwargs.get("additional_vasp_files", ("WAVECAR",))
        _copy_files(Path(prev_dir), names)
    options = dict(maker.write_input_set_kwargs)
    if maker.rehearsal is not None:
        options["potcar_spec"] = True
    if not options.get("potcar_spec"):
        generator = maker.input_set_generator
        symbols = generator.config_dict["POTCAR"] | generator.user_potcar_settings
        wanted = [symbols.get(s, s) for s in dict.fromkeys(map(str, structure.species))]
        family = generator.user_potcar_functional or generator.config_dict["POTCAR_FUNCTIONAL"]
        fault = potcar_fault(wanted, family)
        if fault:
            raise DismaiError(fault)
    write_vasp_input_set(structure, maker.input_set_generator, **options)
    for name, data in maker.write_additional_data.items():
        dumpfn(data, name.replace(":", "."))


def _copy_files(folder: Path, names: Sequence[str]) -> None:
    """Copy those of some files that are there, unpacked.

    Not by atomate2's function, which would bring outputs that could be taken for those of this run.
    """
    for name in names:
        for path, opener in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
            if path.is_file():
                with opener(path, "rb") as source, Path(name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                break


def _run(maker: VaspMaker) -> str:
    """Run VASP under custodian; return what custodian gave up on, in one line, or nothing."""
    from atomate2.vasp.run import DEFAULT_HANDLERS, run_vasp
    from custodian.custodian import CustodianError

    options = copy.deepcopy(maker.run_vasp_kwargs)
    # Handlers count what they have done, and atomate2's are the same objects for all runs.
    options.setdefault("handlers", copy.deepcopy(DEFAULT_HANDLERS))
    if maker.wall_time is not None:
        options["wall_time"] = maker.wall_time
    if maker.rehearsal is not None:
        command = shlex.join(rehearsal_command(maker.rehearsal.potential, maker.rehearsal.fail))
        options |= {"vasp_cmd": command, "vasp_gamma_cmd": command}
        custodian_options = {
            "polling_time_step": _REHEARSAL_POLLING,
            "monitor_freq": _REHEARSAL_LOOKS,
        }
        options["custodian_kwargs"] = custodian_options | options.get("custodian_kwargs", {})
    try:
        with _own_walltime():
            run_vasp(**options)
    except CustodianError as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    except FileNotFoundError as error:
        raise DismaiError(f"VASP cannot be started: no program {error.filename!r}") from None
    return ""


@contextmanager
def _own_walltime() -> Iterator[None]:
    """Let the walltime of each run begin with it, unless the environment says when it began."""
    before = os.environ.get(_WALLTIME_START)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_WALLTIME_START, None)


def _free_atoms(maker: VaspMaker, structure: Structure, order: NDArray[Any]) -> NDArray[Any] | None:
    """Return which atoms may move, in the order in which they were given; None for all."""
    import numpy as np

    flags = structure.site_properties.get("selective_dynamics")
    if maker.stage != "region" or flags is None:
        return None
    free = np.zeros(len(structure), dtype=bool)
    free[order] = np.any(np.array(flags, dtype=bool), axis=1)
    return free


def _zip(folder: Path) -> None:
    from atomate2 import SETTINGS
    from atomate2.common.files import gzip_output_folder
    from atomate2.vasp.jobs.base import _FILES_TO_ZIP

    gzip_output_folder(folder, SETTINGS.VASP_ZIP_FILES, _FILES_TO_ZIP)


def _began(folder: Path) -> bool:
    """Say whether VASP has written anything."""
    files = [path for name in ("OUTCAR", "OSZICAR") for path in folder.glob(f"{name}*")]
    return any(path.stat().st_size for path in files) or any(folder.glob("error.*.tar.gz"))


def _last_words(folder: Path) -> str:
    """Return the last line that VASP, or what should have started it, has printed."""
    from monty.io import zopen

    for name in ("std_err.txt", "vasp.out"):
        for path in folder.glob(f"{name}*"):
            with zopen(path, "rt", errors="replace") as file:
                lines = [line.strip() for line in file.read().splitlines() if line.strip()]
            if lines:
                return str(lines[-1])[:300]
    return "not even a message"


def _told(harvested: HarvestedRun, trouble: str) -> HarvestedRun:
    """Say what custodian gave up on, beside what the files say."""
    if not trouble:
        return harvested
    # Forces may be below the limit where a validator or handler would not let it pass.
    status = "not_converged" if harvested.status == "converged" else harvested.status
    reason = f"{trouble}; {harvested.reason}" if harvested.reason else trouble
    return replace(harvested, status=status, reason=reason)
