"""How atoms and the cell move, and when they stop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.dft.rehearsal.geometry import Geometry
    from dismaiflow.dft.rehearsal.inputs import Inputs

#: ISIF: whether ions, the shape and the volume of the cell may change, as VASP has it.
_FREEDOM = {
    0: (True, False, False), 1: (True, False, False), 2: (True, False, False),
    3: (True, True, True), 4: (True, True, False), 5: (False, True, False),
    6: (False, True, True), 7: (False, False, True), 8: (True, False, True),
}  # fmt: skip

#: Longest move of an atom in a step, Å.
_LONGEST = 0.2
#: Curvature that a relaxation begins with, eV/Å^2.
_CURVATURE = 70.0
#: Moves that the quasi-Newton method remembers.
_MEMORY = 20


@dataclass(frozen=True, eq=False)
class Point:
    """What the potential says of a geometry.

    Parameters
    ----------
    energy : float
        eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        eV/Å^3, tension positive.
    moments : ndarray, shape (n_atoms,), optional
        Magnetic moments, Bohr magnetons, if the potential has them.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    moments: NDArray[np.float64] | None = None


class Method(Protocol):
    """Proposes moves from forces."""

    def move(self, force: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a move along generalised coordinates, shape (rows, 3), Å."""
        ...


class SteepestDescent:
    """Moves along the forces and remembers nothing: a restart takes the same way."""

    def move(self, force: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the move."""
        return limited(force / _CURVATURE)


@dataclass
class QuasiNewton:
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno, without line searches.

    J. Nocedal, Math. Comput. 35, 773 (1980), doi:10.1090/S0025-5718-1980-0572855-7.
    """

    _pairs: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=lambda: deque(maxlen=_MEMORY)
    )
    _last: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def move(self, force: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the move."""
        if self._last is not None:
            moved, before = self._last
            change = before - force
            # Only where the surface curves upwards along the move.
            if np.vdot(moved, change) > 0:
                self._pairs.append((moved, change))
        step = limited(self._towards(force))
        if np.vdot(step, force) < 0:
            self._pairs.clear()
            step = limited(force / _CURVATURE)
        self._last = (step, force)
        return step

    def _towards(self, force: NDArray[np.float64]) -> NDArray[np.float64]:
        q = force.copy()
        weights = []
        for moved, change in reversed(self._pairs):
            weights.append(np.vdot(moved, q) / np.vdot(moved, change))
            q -= weights[-1] * change
        q /= _CURVATURE
        for (moved, change), weight in zip(self._pairs, reversed(weights), strict=True):
            q += moved * (weight - np.vdot(change, q) / np.vdot(moved, change))
        return q


@dataclass
class Damped:
    """Damped dynamics: the velocity is kept only where it goes along the forces."""

    _velocity: NDArray[np.float64] | float = 0.0

    def move(self, force: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the move."""
        along = np.vdot(np.broadcast_to(self._velocity, force.shape), force)
        kept = force * max(0.0, float(along)) / max(float(np.vdot(force, force)), 1e-30)
        step = limited(kept + force / _CURVATURE)
        self._velocity = step
        return step


def method_for(ibrion: int, memoryless: bool) -> Method:
    """Return the method of an IBRION."""
    if memoryless:
        return SteepestDescent()
    return Damped() if ibrion == 3 else QuasiNewton()


def limited(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a move that is shortened as a whole if one of its rows is too long."""
    longest = float(np.linalg.norm(step, axis=1).max())
    return step * (_LONGEST / longest) if longest > _LONGEST else step


@dataclass(frozen=True, eq=False)
class Freedom:
    """What of a structure may move.

    Parameters
    ----------
    ions, shape, volume : bool
        As ISIF has them.
    axes : ndarray of bool, shape (3,)
        LATTICE_CONSTRAINTS: Cartesian directions in which the cell may change.
    """

    ions: bool
    shape: bool
    volume: bool
    axes: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: Inputs) -> Freedom:
        """Return what the inputs allow."""
        axes = np.array(inputs.tag("LATTICE_CONSTRAINTS", [True] * 3))
        return cls(*_FREEDOM[inputs.isif], axes)

    def force(self, geometry: Geometry, point: Point) -> NDArray[np.float64]:
        """Return the forces along what is free.

        Returns
        -------
        ndarray, shape (n_atoms + 3, 3)
            Forces on the atoms and, in the last three rows, on the strain of the cell times the
            number of atoms, eV/Å.
        """
        forces = np.zeros_like(point.forces)
        if self.ions:
            forces = _projected(point.forces, geometry)
        # Rows and columns of the stress, as VASP has it.
        stress = np.where(np.outer(self.axes, self.axes), point.stress, 0.0)
        mean = np.diag(self.axes * np.trace(stress) / max(1, int(self.axes.sum())))
        stress = self.volume * mean + self.shape * (stress - mean)
        atoms = len(forces)
        return np.vstack([forces, -stress * geometry.volume / atoms])

    def apply(self, geometry: Geometry, step: NDArray[np.float64]) -> Geometry:
        """Return the geometry after a move along `force`'s coordinates."""
        atoms = len(geometry.symbols)
        shift = step[:atoms] @ np.linalg.inv(geometry.cell)
        if geometry.free is not None:
            shift = np.where(geometry.free, shift, 0.0)  # exactly, not up to rounding
        strain = step[atoms:] / atoms
        if self.shape and not self.volume and self.axes.any():
            # A strain without a trace keeps the volume to first order only.
            grown = float(np.linalg.det(np.eye(3) + strain)) ** (-1 / int(self.axes.sum()))
            strain = (np.eye(3) + strain) @ np.diag(np.where(self.axes, grown, 1.0)) - np.eye(3)
        return geometry.moved(shift, strain)


def is_converged(
    ediffg: float, force: NDArray[np.float64], energy: float, before: float | None
) -> bool:
    """Return whether a relaxation may stop.

    Parameters
    ----------
    ediffg : float
        Positive: change of the energy, eV. Negative: largest force, eV/Å. Zero: never.
    force : ndarray, shape (rows, 3)
        Forces along what is free.
    energy, before : float
        Of this step and of the last one, eV.
    """
    if ediffg < 0:
        return float(np.linalg.norm(force, axis=1).max()) < -ediffg
    return ediffg > 0 and before is not None and abs(energy - before) < ediffg


def _projected(forces: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Return the parts of forces along the lattice vectors that selective dynamics frees."""
    if geometry.free is None:
        return forces
    projected = np.zeros_like(forces)
    for flags in np.unique(geometry.free, axis=0):
        if flags.any():
            free = geometry.cell[flags]
            these = (geometry.free == flags).all(axis=1)
            projector = np.linalg.pinv(free) @ free if not flags.all() else np.eye(3)
            projected[these] = forces[these] @ projector
    return projected
