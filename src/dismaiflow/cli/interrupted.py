"""Commands that go on where they were interrupted when they are given again."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dismaiflow.cli.console import err

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def kept_trainings(what: str, out_dir: Path | None) -> Iterator[str]:
    """Keep what trainings have learned until all is written.

    Parameters
    ----------
    what : str
        The command.
    out_dir : Path, optional
        Where its results go; none where they are submitted, whose jobs keep it themselves.

    Yields
    ------
    str
        A key for `TrainModelMaker.folder_key`, the same for the same command and folder.
    """
    from dismaiflow.models.scratch import trainings_folder

    if out_dir is None:
        yield ""
        return
    key = f"{what}-{hashlib.sha256(str(out_dir.absolute()).encode()).hexdigest()[:16]}"
    folder = trainings_folder(key)
    if folder.exists():
        err.print(
            f"goes on with the trainings that were interrupted (remove {folder} to begin anew)",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    try:
        yield key
    except KeyboardInterrupt:
        err.print("the same command goes on from the last checkpoint", style="yellow")
        raise
    shutil.rmtree(folder, ignore_errors=True)
