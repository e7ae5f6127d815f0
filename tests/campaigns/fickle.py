"""The toy potential, which fails for some structures, in a module that jobs can import."""

from __future__ import annotations

from dismaiflow.dft.rehearsal.toy import ToyCalculator


class Fickle(ToyCalculator):
    """Fails for half of the structures, told by their start."""

    begun = False

    def forget(self) -> None:
        """Wait for another structure."""
        self.begun = False
        self.reset()

    def calculate(self, atoms=None, *args, **kwargs):
        """Compute, or fail."""
        if not self.begun and int(abs(atoms.positions.sum()) * 1e3) % 2:
            raise RuntimeError("no memory")
        self.begun = True
        super().calculate(atoms, *args, **kwargs)


def fickle() -> Fickle:
    """Return a calculator."""
    return Fickle()
