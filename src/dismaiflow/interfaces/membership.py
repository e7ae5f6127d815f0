"""Which atoms of an interface are region, substrate and film, found by geometry alone.

Each slab is a template. Where it lies in a structure is found from the overlap of the smeared
densities of template and structure, species by species, for all displacements at once (a Fourier
convolution in the periodic cell). Slabs bound an interface: an atom beyond them counts against a
place as much as an empty site does, since a disordered region can look more like a thin film than
the film itself once that is rebuilt. Then the sites of both templates are assigned to atoms, and
what is left is the region. Neither the order of the atoms nor the origin of the cell matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
from ase.geometry import cell_to_cellpar, cellpar_to_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.interfaces.slab import Host, Slab

#: An atom belongs to a site no farther away than this, Å.
SITE_RADIUS = 1.0

#: What an atom of another species costs at a site, Å^2, beside its squared distance.
SPECIES_COST = 0.5

#: How far atoms of relaxed slabs may be from their sites and still be theirs, Å: the crystal is
#: rebuilt beside the region, and the atoms that left its sites are not the region's.
RELAXED_RADIUS = 2.0

#: Cost of a site without an atom, Å^2, above all others.
_NO_ATOM = 100.0

#: Spacing of the grid on which densities overlap, and their width, Å.
GRID_SPACING = 0.6
SMEARING = 0.5

#: By what share of the overlap a film counts less at the full height of the cell.
_CLOSER = 0.02

#: Atoms may lie so far beyond the outer planes of the slabs and count as theirs, Å.
_BUCKLING = 1.0

#: Rounds in which a template is moved onto the atoms that its sites have found.
_REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class Membership:
    """The parts of one structure.

    Parameters
    ----------
    region, substrate, top_layer, film : ndarray of bool, shape (n_atoms,)
        Which atoms form the region, the substrate (its top plane included), that plane, and the
        film. Region, substrate and film are disjoint and cover all atoms.
    shift : 2 float
        Displacement of the film from its place in the host, as shares of a and b, in [0, 1). A
        translation that maps a slab onto itself makes several values the same.
    thickness : float
        Height of the lowest plane of the film above the top plane of the substrate, Å.
    missing_substrate, missing_film : int
        Sites of the slabs without an atom.
    foreign_substrate, foreign_film : int
        Sites that hold an atom of another species; those of the top plane of the substrate, where
        exchanges are allowed, are not counted.
    exchanged : int
        Sites of that plane that hold another species.
    displacement : float
        Largest distance of an atom of the slabs from its site, Å.
    vacuum : float
        Widest gap along c without an atom, Å.
    outside : int
        Atoms of the region that lie beyond the planes that bound it, by more than 0.5 Å.
    lost : float
        Share of all sites of the slabs whose atom lies farther than `SITE_RADIUS` away, is of
        another species (in the top plane of the substrate it may be), or is missing.
    """

    region: NDArray[np.bool_]
    substrate: NDArray[np.bool_]
    top_layer: NDArray[np.bool_]
    film: NDArray[np.bool_]
    shift: tuple[float, float]
    thickness: float
    missing_substrate: int
    missing_film: int
    foreign_substrate: int
    foreign_film: int
    exchanged: int
    displacement: float
    vacuum: float
    outside: int
    lost: float


class _Frame(NamedTuple):
    """A cell in standard orientation, and the grid of its densities."""

    cell: NDArray[np.float64]
    inverse: NDArray[np.float64]
    shape: tuple[int, int, int]


class _Found(NamedTuple):
    """A template in a structure: displacement, and the atom of each site (-1 for none)."""

    offset: NDArray[np.float64]
    atoms: NDArray[np.int64]


def find_regions(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike,
    host: Host,
    radius: float = SITE_RADIUS,
) -> Membership:
    """Tell region, substrate and film of a structure apart.

    Works for atoms in any order, any translation of the whole, wrapped or not, displacements of
    the slabs' atoms up to about half an ångström, and species exchanged between region and
    substrate. The structure must stand the way up that the host does.

    Parameters
    ----------
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers.
    positions : array-like, shape (n_atoms, 3)
        Cartesian positions, Å.
    cell : array-like, shape (3, 3)
        Cell vectors as rows, Å; the third along the surface normal.
    host : Host
        The slabs.
    radius : float
        How far from its site an atom of a slab may be, Å: `RELAXED_RADIUS` for structures that
        were relaxed or generated.

    Returns
    -------
    Membership
        The parts.

    Raises
    ------
    ValueError
        If there are fewer atoms than sites in the slabs.
    """
    from scipy.fft import irfftn  # takes long to import

    codes = np.asarray(numbers, dtype=np.int64)
    rows = np.asarray(cell, dtype=np.float64)
    n_sites = len(host.substrate) + len(host.film)
    if len(codes) < n_sites:
        raise ValueError(f"{len(codes)} atoms cannot cover the {n_sites} sites of the slabs")
    fractions = np.asarray(positions, dtype=np.float64) @ np.linalg.inv(rows)
    key = rows.tobytes()
    frame = _frame(key)
    points = (fractions % 1.0) @ frame.cell
    density = _density(codes, fractions, frame.shape)

    overlaps = []
    for slab in (host.substrate, host.film):
        kernels = _kernels(slab, key).items()
        product = sum(density[z] * kernel for z, kernel in kernels if z in density)
        overlaps.append(irfftn(product, s=frame.shape))
    offsets = _best_offsets(overlaps, points[:, 2], host, frame)
    substrate, film = _assign(codes, points, host, offsets, frame, radius)
    return _membership(codes, points, host, frame, substrate, film)


def _best_offsets(
    overlaps: list[NDArray[np.float64]],
    heights_of_atoms: NDArray[np.float64],
    host: Host,
    frame: _Frame,
) -> list[NDArray[np.float64]]:
    """Return the displacements of substrate and film of greatest overlap, film above substrate.

    Overlap counts in sites, less the atoms that are left beyond the slabs. Of like ones the closer
    pair counts, so that two slabs of one phase are not taken for each other across the vacuum.
    """
    n = frame.shape[2]
    c = frame.cell[2, 2]
    heights = np.arange(n) * c / n
    apart = (heights[None, :] - heights[:, None]) % c
    profiles = [overlap.max(axis=(0, 1)) for overlap in overlaps]
    voxel = float(np.linalg.det(frame.cell)) / float(np.prod(frame.shape))
    # What one atom on its site adds: the smeared density at its centre.
    full = voxel / (4 * np.pi * SMEARING**2) ** 1.5
    total = (profiles[0][:, None] + profiles[1][None, :]) / full
    total = total - _beyond(heights_of_atoms, heights, host, c)
    total = total - _CLOSER * total.max() * apart / c
    low = host.substrate.height - GRID_SPACING
    high = c - host.film.height + GRID_SPACING
    allowed = (apart >= low) & (apart <= high)
    levels = np.unravel_index(int(np.argmax(np.where(allowed, total, -np.inf))), total.shape)
    offsets = []
    for overlap, level in zip(overlaps, levels, strict=True):
        plane = overlap[:, :, level]
        a, b = np.unravel_index(int(np.argmax(plane)), plane.shape)
        offsets.append(np.array([a, b, level]) / frame.shape @ frame.cell)
    return offsets


def _beyond(
    atoms: NDArray[np.float64], levels: NDArray[np.float64], host: Host, c: float
) -> NDArray[np.float64]:
    """Count the atoms from above the film up to below the next image of the substrate.

    Parameters
    ----------
    atoms : ndarray, shape (n_atoms,)
        Heights, Å.
    levels : ndarray, shape (n,)
        Heights at which either slab may begin, Å.

    Returns
    -------
    ndarray, shape (n, n)
        By the levels of substrate and film.
    """
    first = (levels + host.film.height + _BUCKLING)[None, :]
    free = (levels[:, None] - _BUCKLING - first) % c
    counts = np.zeros((len(levels), len(levels)))
    for height in atoms:
        counts += (height - first) % c < free
    return counts


def displaced(slab: Slab, frame_cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sites of a slab in another cell: same in-plane fractions, same heights."""
    sites = slab.positions.copy()
    sites[:, :2] = sites[:, :2] @ np.linalg.inv(slab.vectors) @ frame_cell[:2, :2]
    return sites


@lru_cache(maxsize=16)
def _frame(cell: bytes) -> _Frame:
    from scipy.fft import next_fast_len

    rows = np.frombuffer(cell).reshape(3, 3)
    standard = np.asarray(cellpar_to_cell(cell_to_cellpar(rows)), dtype=np.float64)
    sizes = [next_fast_len(int(np.ceil(x / GRID_SPACING))) for x in np.linalg.norm(rows, axis=1)]
    inverse = np.asarray(np.linalg.inv(standard), dtype=np.float64)
    return _Frame(standard, inverse, (sizes[0], sizes[1], sizes[2]))


def _density(
    codes: NDArray[np.int64], fractions: NDArray[np.float64], shape: tuple[int, int, int]
) -> dict[int, NDArray[np.complex128]]:
    """Return the Fourier transform of the atoms of each species, shared out among grid points."""
    from scipy.fft import rfftn

    species, place = np.unique(codes, return_inverse=True)
    values = np.zeros((len(species), *shape))
    _spread(fractions, place, values)
    transforms = rfftn(values, axes=(1, 2, 3))
    return dict(zip(species.tolist(), transforms, strict=True))


@numba.njit(cache=True, nogil=True)
def _spread(
    fractions: NDArray[np.float64], place: NDArray[np.int64], values: NDArray[np.float64]
) -> None:
    """Share every atom out among the eight grid points around it, linearly."""
    sizes = values.shape[1:]
    low = np.empty(3, np.int64)
    rest = np.empty(3)
    for atom in range(len(fractions)):
        for k in range(3):
            at = fractions[atom, k] * sizes[k]
            low[k] = int(np.floor(at))
            rest[k] = at - low[k]
        for i in range(2):
            for j in range(2):
                for m in range(2):
                    weight = rest[0] if i else 1 - rest[0]
                    weight *= rest[1] if j else 1 - rest[1]
                    weight *= rest[2] if m else 1 - rest[2]
                    values[
                        place[atom],
                        (low[0] + i) % sizes[0],
                        (low[1] + j) % sizes[1],
                        (low[2] + m) % sizes[2],
                    ] += weight


@lru_cache(maxsize=16)
def _kernels(slab: Slab, cell: bytes) -> Mapping[int, NDArray[np.complex128]]:
    """Return the conjugate transforms of a template, smeared for both sides."""
    frame = _frame(cell)
    frequencies = [np.fft.fftfreq(n, 1 / n) for n in frame.shape[:2]]
    frequencies.append(np.fft.rfftfreq(frame.shape[2], 1 / frame.shape[2]))
    mesh = np.stack(np.meshgrid(*frequencies, indexing="ij"), axis=-1)
    squares = ((2 * np.pi * mesh @ frame.inverse.T) ** 2).sum(axis=-1)
    smear = np.exp(-squares * SMEARING**2)
    fractions = displaced(slab, frame.cell) @ frame.inverse
    transforms = _density(slab.numbers.astype(np.int64), fractions, frame.shape)
    return {z: smear * np.conj(transform) for z, transform in transforms.items()}


def _nearest(vectors: NDArray[np.float64], frame: _Frame) -> NDArray[np.float64]:
    """Reduce displacements to their nearest image, for all that are short against the cell."""
    fractions = vectors @ frame.inverse
    return vectors - np.rint(fractions) @ frame.cell


def _assign(
    codes: NDArray[np.int64],
    points: NDArray[np.float64],
    host: Host,
    offsets: list[NDArray[np.float64]],
    frame: _Frame,
    radius: float,
) -> tuple[_Found, _Found]:
    """Give every site an atom within reach, at the least total cost, and refine the offsets."""
    slabs = (host.substrate, host.film)
    templates = [displaced(slab, frame.cell) for slab in slabs]
    species = np.concatenate([slab.numbers for slab in slabs]).astype(np.int64)
    parts = (slice(0, len(slabs[0])), slice(len(slabs[0]), None))
    for _ in range(_REFINEMENTS):
        sites = np.concatenate([t + o for t, o in zip(templates, offsets, strict=True)])
        cost = _costs(sites, species, points, codes, frame.cell, frame.inverse, SITE_RADIUS)
        # The nearest atom of each site is enough to move a template as a whole.
        nearest = cost.argmin(axis=1)
        hit = cost[np.arange(len(sites)), nearest] < _NO_ATOM
        apart = _nearest(points[nearest] - sites, frame)
        for k, part in enumerate(parts):
            if hit[part].any():
                offsets[k] = offsets[k] + apart[part][hit[part]].mean(axis=0)
    sites = np.concatenate([t + o for t, o in zip(templates, offsets, strict=True)])
    cost = _costs(sites, species, points, codes, frame.cell, frame.inverse, radius)
    atoms = cost.argmin(axis=1)
    # Where no two sites want the same atom this is the optimum already.
    if len(np.unique(atoms)) < len(atoms):
        from scipy.optimize import linear_sum_assignment  # takes long to import

        atoms = linear_sum_assignment(cost)[1]
    atoms = np.where(cost[np.arange(len(sites)), atoms] < _NO_ATOM, atoms, -1)
    return _Found(offsets[0], atoms[parts[0]]), _Found(offsets[1], atoms[parts[1]])


@numba.njit(cache=True, nogil=True)
def _costs(
    sites: NDArray[np.float64],
    species: NDArray[np.int64],
    points: NDArray[np.float64],
    codes: NDArray[np.int64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64]:
    """Return the cost of each atom at each site, Å^2; `_NO_ATOM` for those out of reach."""
    cost = np.full((len(sites), len(points)), _NO_ATOM)
    apart = np.empty(3)
    for i in range(len(sites)):
        for j in range(len(points)):
            for k in range(3):
                x = 0.0
                for m in range(3):
                    x += (points[j, m] - sites[i, m]) * inverse[m, k]
                apart[k] = x - np.rint(x)
            square = 0.0
            for k in range(3):
                x = 0.0
                for m in range(3):
                    x += apart[m] * cell[m, k]
                square += x * x
            if square <= radius * radius:
                cost[i, j] = square if species[i] == codes[j] else square + SPECIES_COST
    return cost


def _membership(
    codes: NDArray[np.int64],
    points: NDArray[np.float64],
    host: Host,
    frame: _Frame,
    substrate: _Found,
    film: _Found,
) -> Membership:
    """Gather what the assignment says."""
    top = host.substrate.top_plane
    masks = []
    for atoms in (substrate.atoms, substrate.atoms[top], film.atoms):
        mask = np.zeros(len(codes), dtype=bool)
        mask[atoms[atoms >= 0]] = True
        masks.append(mask)
    region = ~(masks[0] | masks[2])

    moves, foreign = [], []
    for slab, found in ((host.substrate, substrate), (host.film, film)):
        move = points[found.atoms] - displaced(slab, frame.cell) - found.offset
        move = _nearest(move, frame)
        move[found.atoms < 0] = np.nan
        moves.append(move)
        foreign.append((found.atoms >= 0) & (codes[found.atoms] != slab.numbers))
    lifted = np.concatenate([moves[0], moves[1]])
    lengths = np.sqrt((lifted**2).sum(axis=1))

    missed = ~(lengths <= SITE_RADIUS)  # NaN where there is no atom
    missed |= np.concatenate([foreign[0] & ~top, foreign[1]])

    # Heights of the two planes that bound the region, with what their atoms moved on average.
    # What has left its site says nothing of where its plane lies.
    kept = np.split(np.where(lengths <= SITE_RADIUS, lifted[:, 2], np.nan), [len(top)])
    top_z = float(substrate.offset[2] + host.substrate.height + _mean(kept[0][top]))
    low_z = float(film.offset[2] + _mean(kept[1][host.film.planes == 0]))
    c = float(frame.cell[2, 2])
    thickness = (low_z - top_z) % c
    above = (points[region, 2] - top_z + c / 2 - thickness / 2) % c - c / 2 + thickness / 2
    between = (film.offset - substrate.offset) @ frame.inverse
    heights = np.sort(points[:, 2])
    gaps = np.diff(np.append(heights, heights[0] + c))
    return Membership(
        region=region,
        substrate=masks[0],
        top_layer=masks[1],
        film=masks[2],
        shift=(float(between[0] % 1.0), float(between[1] % 1.0)),
        thickness=thickness,
        missing_substrate=int((substrate.atoms < 0).sum()),
        missing_film=int((film.atoms < 0).sum()),
        foreign_substrate=int((foreign[0] & ~top).sum()),
        foreign_film=int(foreign[1].sum()),
        exchanged=int((foreign[0] & top).sum()),
        displacement=float(np.nanmax(lengths)) if np.isfinite(lengths).any() else float("nan"),
        vacuum=float(gaps.max()),
        outside=int(((above < -0.5) | (above > thickness + 0.5)).sum()),
        lost=float(missed.mean()),
    )


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values, 0 if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else 0.0
