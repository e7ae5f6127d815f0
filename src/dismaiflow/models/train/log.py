"""The log of a training: a table of losses that grows by whole lines."""

from __future__ import annotations

import csv
import io
import os
import warnings
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import explain_os_error, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOG_NAME = "log.csv"

#: Columns of every log, before those of the losses. ``row`` says what the losses are means over.
COLUMNS = ("row", "step", "epoch", "seconds")

#: Values of ``row``: a whole epoch, or the steps since the row before.
EPOCH, STEPS = "epoch", "steps"

Value = str | int | float


class TrainingLog:
    """A table in a file.

    Parameters
    ----------
    path : Path
        The file; what it holds beyond the rows below is cut off.
    n_rows : int
        Rows that belong to the training so far.
    columns : sequence of str
        Columns of these rows.

    Raises
    ------
    DismaiError
        If the file cannot be read or written.
    """

    def __init__(self, path: Path, n_rows: int = 0, columns: Sequence[str] = ()) -> None:
        self._path = path
        self.columns = list(columns) or list(COLUMNS)
        rows = read_log(path) if path.exists() and n_rows else []
        if len(rows) < n_rows:
            warnings.warn(
                f"{path}: {n_rows - len(rows)} rows are lost; the training itself is whole",
                stacklevel=2,
            )
        self.n_rows = min(n_rows, len(rows))
        self._rewrite(rows[: self.n_rows])

    def add(self, row: Mapping[str, Value]) -> None:
        """Write a row; columns that were not known before are added to the table.

        Raises
        ------
        DismaiError
            If the file cannot be written.
        """
        new = [name for name in row if name not in self.columns]
        if new:
            rows = read_log(self._path)
            self.columns += new
            self._rewrite(rows)
        try:
            with self._path.open("a", encoding="utf-8", newline="") as stream:
                stream.write(_lines(self.columns, [row]))
        except OSError as error:
            raise explain_os_error(error, self._path) from error
        self.n_rows += 1

    def sync(self) -> None:
        """Bring it to the disk, before a checkpoint that counts on its rows."""
        try:
            with self._path.open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise explain_os_error(error, self._path) from error

    def _rewrite(self, rows: Sequence[Mapping[str, Value]]) -> None:
        header = dict(zip(self.columns, self.columns, strict=True))
        write_text(self._path, _lines(self.columns, [header, *rows]))


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log, by column; a last line that is not whole is left out.

    Raises
    ------
    DismaiError
        If it cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise DismaiError(f"{path}: cannot be read as a log of a training") from None
    whole = text[: text.rfind("\n") + 1]
    return [dict(row) for row in csv.DictReader(io.StringIO(whole), restval="")]


def _lines(columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([_text(row.get(name, "")) for name in columns])
    return stream.getvalue()


def _text(value: Value) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)
