"""Commands that go on where they were interrupted when they are given again."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dismaiflow.cli.console import err
from dismaiflow.errors import DismaiError

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

    Raises
    ------
    DismaiError
        If another process is at it.
    """
    from dismaiflow.models.scratch import trainings_folder
    from dismaiflow.structures.files import lock

    if out_dir is None:
        yield ""
        return
    key = f"{what}-{hashlib.sha256(str(out_dir.absolute()).encode()).hexdigest()[:16]}"
    folder = trainings_folder(key)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as file:
        if not lock(file):
            raise DismaiError(
                f"{out_dir}: another `dismai {what}` is making it; wait for it, or give another "
                "--out"
            )
        if _holds_trainings(folder):
            err.print(
                f"goes on with the trainings that were interrupted (remove {folder} to begin anew)",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )
        written = False
        try:
            yield key
            written = True
        except KeyboardInterrupt:
            err.print("the same command goes on from the last checkpoint", style="yellow")
            raise
        finally:
            if written or not _holds_trainings(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _holds_trainings(folder: Path) -> bool:
    return folder.is_dir() and any(one.is_dir() for one in folder.iterdir())
