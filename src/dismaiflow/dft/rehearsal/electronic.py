"""Make-believe electronic steps: lines that converge to an energy that is known already."""

from __future__ import annotations

from dataclasses import dataclass

#: Deviation of the first electronic step from the energy, eV for each atom.
_START = 1.0
#: Deviation that a run keeps whose electronic steps do not converge, eV for each atom.
_STUCK = 0.01


@dataclass(frozen=True)
class ElectronicStep:
    """One line of the electronic minimisation.

    Parameters
    ----------
    number : int
        From 1.
    energy, change : float
        eV.
    """

    number: int
    energy: float
    change: float


def electronic_steps(
    energy: float, atoms: int, lines: int, ediff: float, converges: bool
) -> list[ElectronicStep]:
    """Return electronic steps that lead to an energy.

    Parameters
    ----------
    energy : float
        Where they lead, eV.
    atoms : int
        Atoms of the cell.
    lines : int
        Steps.
    ediff : float
        The change that counts as converged, eV; the last change is below it.
    converges : bool
        If not, the energy swings to and fro until the last step.
    """
    start, stop = _START * atoms, 0.3 * ediff
    steps = []
    before = 0.0
    for number in range(1, lines + 1):
        if not converges:
            off = _STUCK * atoms * (-1) ** number
        elif number == lines:
            off = 0.0
        else:
            # Straight on a logarithmic scale, from the first to the last but one.
            off = start * (stop / start) ** ((number - 1) / max(1, lines - 2))
        steps.append(ElectronicStep(number, energy + off, energy + off - before))
        before = energy + off
    return steps
