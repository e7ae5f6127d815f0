"""custodian's handler of silent runs, which waits until they have said something."""

from __future__ import annotations

from pathlib import Path

from custodian.vasp.handlers import FrozenJobErrorHandler


class SilentRun(FrozenJobErrorHandler):
    """Does not count the time that a program takes to start, on a busy machine more than others."""

    def check(self, directory: str = "./") -> bool:
        """Tell whether nothing came for a while after the first words."""
        output = Path(directory) / self.output_filename
        return output.stat().st_size > 0 and bool(super().check(directory))
