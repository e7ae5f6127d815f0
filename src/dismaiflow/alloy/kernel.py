"""The Monte Carlo inner loop: canonical Metropolis with Kawasaki swaps, in int32.

Every site keeps its *fields*: for each species but the first, the energy that this species would
have there relative to the first. The energy change of a swap is then four look-ups and a
correction for the pair itself, and an accepted swap shifts the fields of the neighbours.

The shift that one site causes in another depends on their displacement alone. So the sites are
ordered in *lines*, the cosets of a cyclic group of lattice translations: a line then receives
contiguous pieces of a short table, each in one vector instruction, and all tables together stay in
the near caches. Supercells whose lines do not fill a vector, and large ones, shift the fields of
the neighbours one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian
    from dismaiflow.structures.lattice import SiteLattice

#: Above this number of sites most of a dense shift would be zeros.
MAX_DENSE_SITES = 1536

#: Lengths of the vector instructions used, in int32 fields.
VECTOR_WIDTHS = (16, 8)

#: Bits of a random number that index the table of acceptance thresholds.
_BINS_LOG2 = 10

#: Threshold that no energy change reaches.
_NEVER = np.int32(2**31 - 1)


@dataclass(frozen=True)
class KernelTables:
    """What the inner loop looks up; made once per Hamiltonian.

    Sites are numbered along the lines: ``order[k]`` is the lattice site of kernel site k. The
    fields of all sites, one after the other, are cut into pieces of `width`; the entries of `shift`
    and `correction` for the displacement from site i to site j begin at
    ``offset[i, piece_of[j]] + place[j]``.

    Parameters
    ----------
    order : ndarray of int64, shape (n_sites,)
        Lattice site of each kernel site.
    piece_of, place : ndarray of int32, shape (n_sites,)
        Piece in which the fields of each site begin, and where in that piece.
    offset : ndarray of uint16 or int32, shape (n_sites, n_pieces)
        Where the displacements from a site to a piece begin.
    shift : ndarray of int32, shape (n_pair_types, line * n_sites * (n_species - 1))
        Change of the fields at a displacement when a site turns from the first species of a pair
        type into the second.
    correction : ndarray of int32, shape as `shift`
        Pair correction of a swap.
    neighbors : ndarray of int32, shape (n_sites, z)
        Neighbours of each site, its own images left out (marked -1).
    neighbor_shift : ndarray of int32, shape (n_pair_types, z * (n_species - 1))
        `shift` by neighbour instead of displacement.
    width : int
        Fields in a piece and in the vector instruction that shifts it; 0 if a piece is a whole line
        and neighbours are shifted one by one.
    """

    order: NDArray[np.int64]
    piece_of: NDArray[np.int32]
    place: NDArray[np.int32]
    offset: NDArray[np.uint16] | NDArray[np.int32]
    shift: NDArray[np.int32]
    correction: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    neighbor_shift: NDArray[np.int32]
    width: int


def pair_types(n_species: int) -> list[tuple[int, int]]:
    """Return the unordered pairs of unlike species codes, in the order of the kernel."""
    return [(a, b) for a in range(n_species) for b in range(a + 1, n_species)]


def _lines(lattice: SiteLattice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the sites into the cosets of a cyclic translation group, shape (n_lines, line).

    The second array is the inverse: the position of each site in the flattened first.
    """
    period = 2 * np.asarray(lattice.repeats)
    steps = np.rint(lattice.shells(3).vectors / (lattice.a / 2)).astype(np.int64)
    lengths = np.array([np.lcm.reduce(period // np.gcd(period, step)) for step in steps])
    # The longest line whose length suits the vector loop, else the longest.
    best = int(
        np.argmax(np.where(lengths % min(VECTOR_WIDTHS) == 0, lengths + lengths.max(), lengths))
    )
    walk = np.arange(lengths[best])[:, None] * steps[best]
    unseen = np.ones(lattice.n_sites, dtype=bool)
    lines = []
    for site in range(lattice.n_sites):
        if unseen[site]:
            lines.append(lattice.site_at(lattice.half_steps[site] + walk).astype(np.int64))
            unseen[lines[-1]] = False
    stacked = np.array(lines)
    return stacked, np.argsort(stacked.ravel())


def build_tables(hamiltonian: IntegerHamiltonian) -> KernelTables:
    """Tabulate a Hamiltonian for the inner loop."""
    pair = hamiltonian.pair
    lattice = hamiltonian.lattice
    n_sites = lattice.n_sites
    shells = lattice.shells(len(pair))
    lines, rank = _lines(lattice)
    order = lines.ravel()
    n_lines, line = lines.shape

    neighbors = rank[shells.neighbors[order]].astype(np.int32)
    # A site's own images turn with it, so under fixed composition they never change the energy.
    own = neighbors == np.arange(n_sites)[:, None]
    neighbors[own] = -1

    # Joins by displacement, i.e. from kernel site 0, written once for every place in a line where a
    # piece may begin: no piece then wraps, and each lies on a cache line.
    joins = np.zeros((len(pair), n_sites), dtype=np.int64)
    np.add.at(joins, (shells.shell_of[~own[0]], neighbors[0, ~own[0]]), 1)
    by_line = joins.reshape(len(pair), n_lines, line)
    joins = np.stack([np.roll(by_line, -begin, axis=-1) for begin in range(line)], axis=1)
    joins = joins.reshape(len(pair), line * n_sites)

    half_steps = lattice.half_steps[order]
    first_of_line = half_steps[::line]
    displaced = first_of_line[None, :, :] - half_steps[:, None, :] + half_steps[0]
    target = rank[lattice.site_at(displaced)]
    n_fields = pair.shape[1] - 1
    offset = (target % line * n_lines + target // line) * line * n_fields
    widths = [w for w in VECTOR_WIDTHS if line * n_fields % w == 0]
    width = widths[0] if widths and n_sites <= MAX_DENSE_SITES else 0
    piece = width or line * n_fields
    along = np.arange(0, line * n_fields, piece)
    offset = (offset[:, :, None] + along).reshape(n_sites, -1)

    types = pair_types(pair.shape[1])
    relative = pair[:, 1:, :] - pair[:, :1, :]
    coupling = np.array([relative[:, :, b] - relative[:, :, a] for a, b in types])
    swap = np.array([2 * pair[:, a, b] - pair[:, a, a] - pair[:, b, b] for a, b in types])
    return KernelTables(
        order=order,
        piece_of=(np.arange(n_sites) * n_fields // piece).astype(np.int32),
        place=(np.arange(n_sites) * n_fields % piece).astype(np.int32),
        offset=offset.astype(np.uint16 if offset.max() < 2**16 else np.int32),
        shift=aligned(np.einsum("tsx,so->tox", coupling, joins).reshape(len(types), -1)),
        correction=np.repeat((swap @ joins).astype(np.int32), n_fields, axis=1),
        neighbors=neighbors,
        neighbor_shift=np.ascontiguousarray(
            coupling[:, shells.shell_of, :].astype(np.int32).reshape(len(types), -1)
        ),
        width=width,
    )


def initial_fields(
    hamiltonian: IntegerHamiltonian, tables: KernelTables, occupation: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Count the relative fields of a configuration.

    Parameters
    ----------
    hamiltonian : IntegerHamiltonian
        Lattice and energies.
    tables : KernelTables
        Its tables.
    occupation : ndarray of int, shape (n_sites,)
        Species code of each kernel site.

    Returns
    -------
    ndarray of int32, shape (n_sites, n_species - 1)
        Fields in quanta.
    """
    pair = hamiltonian.pair
    shell_of = hamiltonian.lattice.shells(len(pair)).shell_of
    relative = pair[:, 1:, :] - pair[:, :1, :]
    values = relative[shell_of[None, :], :, occupation[tables.neighbors]]
    values[tables.neighbors < 0] = 0
    return aligned(values.sum(axis=1))


def aligned(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """Copy into an int32 array that begins on a cache line, so that no vector straddles two."""
    buffer = np.zeros(values.size + 16, dtype=np.int32)
    start = (-buffer.ctypes.data // 4) % 16
    copy = buffer[start : start + values.size].reshape(values.shape)
    copy[:] = values
    return copy


def acceptance_thresholds(
    beta: float, quantum: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Bound the Metropolis test by the leading bits of its random number.

    Parameters
    ----------
    beta : float
        Inverse temperature in 1/eV.
    quantum : float
        Energy unit in eV.

    Returns
    -------
    accept, reject : ndarray of int32, shape (2**10,)
        For a uniform number u in bin k, an energy change up to ``accept[k]`` quanta is accepted
        and one from ``reject[k]`` on is rejected, whatever the remaining bits of u; between them
        ``u < exp(-beta dE)`` decides.
    """
    n_bins = 2**_BINS_LOG2
    scale = 1.0 / (beta * quantum)
    edges = np.arange(n_bins + 1) / n_bins
    with np.errstate(divide="ignore"):
        energies = -np.log(edges) * scale
    # One quantum of slack on either side keeps rounding of the logarithm out of the decision.
    accept = np.floor(np.minimum(energies[1:], float(_NEVER) - 4)) - 1
    reject = np.ceil(np.minimum(energies[:-1], float(_NEVER) - 4)) + 1
    reject[0] = float(_NEVER)
    return np.maximum(accept, 0).astype(np.int32), reject.astype(np.int32)


@numba.njit(cache=True, nogil=True, inline="always")
def _next(state: NDArray[np.uint64]) -> np.uint64:
    """Draw 64 bits by xoshiro256++ (Blackman and Vigna, doi 10.1145/3460772)."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    x = s0 + s3
    result = ((x << np.uint64(23)) | (x >> np.uint64(41))) + s0
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


def _shift_piece(width: int) -> Any:
    """Make ``row[m:m+width] += table[u:u+width] - table[v:v+width]`` in one vector instruction.

    Numba leaves such short runs scalar: it turns LLVM's superword vectoriser off, and the loop
    vectoriser would test for overlapping arrays at every run.
    """

    @intrinsic
    def shift_piece(
        typingctx: Any, row: Any, m: Any, table: NDArray[np.int32], u: Any, v: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.IntType(32), width)

            def piece(array: int, index: int) -> Any:
                kind = signature.args[array]
                data = context.make_array(kind)(context, builder, args[array]).data
                start = builder.gep(data, [args[index]])
                return builder.bitcast(start, vector.as_pointer())

            values = []
            for array, index in ((0, 1), (2, 3), (2, 4)):
                value = builder.load(piece(array, index))
                value.align = 4
                values.append(value)
            shifted = builder.add(values[0], builder.sub(values[1], values[2]))
            builder.store(shifted, piece(0, 1), align=4)
            return context.get_dummy_value()

        return types.void(row, m, table, u, v), codegen

    return shift_piece


_shift_8 = _shift_piece(8)
_shift_16 = _shift_piece(16)


@numba.njit(cache=True, nogil=True)
def _shift_pieces_8(
    flat: NDArray[np.int32],
    table: NDArray[np.int32],
    offset_i: NDArray[np.int64],
    offset_j: NDArray[np.int64],
) -> None:
    """Add the shift that one site causes to all fields and take away that of the other."""
    for r in range(offset_i.shape[0]):
        _shift_8(flat, 8 * r, table, np.int64(offset_i[r]), np.int64(offset_j[r]))


@numba.njit(cache=True, nogil=True)
def _shift_pieces_16(
    flat: NDArray[np.int32],
    table: NDArray[np.int32],
    offset_i: NDArray[np.int64],
    offset_j: NDArray[np.int64],
) -> None:
    """Do the same in vectors of 16."""
    for r in range(offset_i.shape[0]):
        _shift_16(flat, 16 * r, table, np.int64(offset_i[r]), np.int64(offset_j[r]))


@numba.njit(cache=True, nogil=True, inline="always")
def _shift_neighbors(
    flat: NDArray[np.int32],
    shift: NDArray[np.int32],
    neighbors: NDArray[np.int32],
    n_fields: int,
    i: int,
    j: int,
) -> None:
    """Add the shift that site i causes and take away that of site j, one neighbour at a time."""
    for k in range(neighbors.shape[1]):
        near_i = neighbors[i, k]
        near_j = neighbors[j, k]
        for x in range(n_fields):
            if near_i >= 0:
                flat[near_i * n_fields + x] += shift[k * n_fields + x]
            if near_j >= 0:
                flat[near_j * n_fields + x] -= shift[k * n_fields + x]


@numba.njit(cache=True, nogil=True)
def run_attempts(
    n_attempts: int,
    site_of: NDArray[np.int32],
    species_start: NDArray[np.int64],
    fields: NDArray[np.int32],
    state: NDArray[np.uint64],
    type_a: NDArray[np.int64],
    type_b: NDArray[np.int64],
    type_limit: NDArray[np.uint64],
    piece_of: NDArray[np.int32],
    place: NDArray[np.int32],
    offset: NDArray[np.uint16] | NDArray[np.int32],
    shift: NDArray[np.int32],
    correction: NDArray[np.int32],
    neighbors: NDArray[np.int32],
    neighbor_shift: NDArray[np.int32],
    width: int,
    accept: NDArray[np.int32],
    reject: NDArray[np.int32],
    beta_quantum: float,
) -> tuple[np.int64, int]:
    """Attempt swaps of unlike atoms; return the energy change in quanta and the acceptances.

    ``site_of[slot]`` is the site of each atom, the atoms sorted by species, so that an attempt
    draws a pair of species, then an atom of each: every unlike pair has the same probability,
    before a swap and after it. ``site_of``, ``fields`` and ``state`` are changed in place.

    Parameters
    ----------
    n_attempts : int
        Number of unlike-pair attempts.
    site_of : ndarray of int32, shape (n_sites,)
        Kernel site of each slot.
    species_start : ndarray of int64, shape (n_species + 1,)
        First slot of each species.
    fields : ndarray of int32, shape (n_sites, n_species - 1)
        Relative fields in quanta.
    state : ndarray of uint64, shape (4,)
        State of the random number generator.
    type_a, type_b : ndarray of int64, shape (n_pair_types,)
        The two species of each pair type.
    type_limit : ndarray of uint64, shape (n_pair_types,)
        Cumulative shares of the pair types in units of 2**-32.
    piece_of, place, offset, shift, correction, neighbors, neighbor_shift, width
        See `KernelTables`.
    accept, reject : ndarray of int32
        See `acceptance_thresholds`.
    beta_quantum : float
        Inverse temperature times the energy quantum.

    Returns
    -------
    energy : int
        Sum of the accepted energy changes, in quanta.
    n_accepted : int
        Number of accepted swaps.
    """
    n_fields = fields.shape[1]
    flat = fields.reshape(fields.size)
    rng = np.empty(4, np.uint64)
    rng[:] = state
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    energy = np.int64(0)
    n_accepted = 0
    for _ in range(n_attempts):
        first = _next(rng)
        second = _next(rng)
        t = 0
        while first >> half >= type_limit[t]:
            t += 1
        a = type_a[t]
        b = type_b[t]
        n_a = np.uint64(species_start[a + 1] - species_start[a])
        n_b = np.uint64(species_start[b + 1] - species_start[b])
        p = species_start[a] + np.int64(((first & low) * n_a) >> half)
        q = species_start[b] + np.int64(((second >> half) * n_b) >> half)
        i = site_of[p]
        j = site_of[q]
        delta = correction[t, np.int64(offset[i, piece_of[j]]) + place[j]]
        delta += flat[i * n_fields + b - 1] - flat[j * n_fields + b - 1]
        if a > 0:
            delta += flat[j * n_fields + a - 1] - flat[i * n_fields + a - 1]
        if delta > 0:
            k = np.int64((second & low) >> np.uint64(22))
            if delta >= reject[k]:
                continue
            if delta > accept[k]:
                # The 32 bits used so far lead; 21 more make a full double.
                fine = ((second & low) << np.uint64(21)) | (_next(rng) >> np.uint64(43))
                if np.float64(fine) * 2.0**-53 >= np.exp(-beta_quantum * delta):
                    continue
        energy += delta
        n_accepted += 1
        site_of[p] = j
        site_of[q] = i
        if width == 16:
            _shift_pieces_16(flat, shift[t], offset[i], offset[j])
        elif width == 8:
            _shift_pieces_8(flat, shift[t], offset[i], offset[j])
        else:
            _shift_neighbors(flat, neighbor_shift[t], neighbors, n_fields, i, j)
    state[:] = rng
    return energy, n_accepted


@numba.njit(cache=True, nogil=True)
def record_snapshots(
    occupations: NDArray[np.int8],
    energies: NDArray[np.int64],
    n_attempts: int,
    energy: int,
    order: NDArray[np.int64],
    slot_species: NDArray[np.int8],
    site_of: NDArray[np.int32],
    *others: Any,
) -> tuple[int, int]:
    """Fill in snapshots that lie a number of attempts apart, without going back to Python.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n_snapshots, n_sites)
        Filled with the species code of each lattice site.
    energies : ndarray of int64, shape (n_snapshots,)
        Filled with the energies in quanta.
    n_attempts : int
        Unlike-pair attempts before each snapshot.
    energy : int
        Energy at the start, in quanta.
    order : ndarray of int64, shape (n_sites,)
        See `KernelTables`.
    slot_species : ndarray of int8, shape (n_sites,)
        Species code of each slot.
    site_of, *others
        The arguments of `run_attempts` after the first.

    Returns
    -------
    energy : int
        Energy at the end, in quanta.
    n_accepted : int
        Number of accepted swaps.
    """
    n_accepted = 0
    for s in range(occupations.shape[0]):
        change, accepted = run_attempts(n_attempts, site_of, *others)
        energy += change
        n_accepted += accepted
        energies[s] = energy
        for slot in range(site_of.shape[0]):
            occupations[s, order[site_of[slot]]] = slot_species[slot]
    return energy, n_accepted
