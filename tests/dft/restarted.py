"""Runs of the stand-in for VASP, in this process, that are started again after failures."""

from __future__ import annotations

import shutil

from custodian.utils import backup
from custodian.vasp.handlers import VASP_BACKUP_FILES

from dft.small_runs import make_folder, play
from dismaiflow.dft.rehearsal.failures import Failure

#: A limit that the toy reaches within a few dozen steps along the forces, eV/Å.
LIMIT = -1.1


def rehearsed(folder, *fail, **tags):
    """Rehearse, starting again from CONTCAR after each failure, as custodian does."""
    make_folder(folder, **({"EDIFFG": LIMIT} | tags))
    failures = [Failure.parse(text) for text in fail]
    while play(folder, failures=failures, memoryless=True):
        backup(VASP_BACKUP_FILES, directory=str(folder))
        shutil.copy(folder / "CONTCAR", folder / "POSCAR")
    return folder
