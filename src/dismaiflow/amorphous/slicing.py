"""Blocks cut from a parent (paper, sections 2.1.2 and 4.1.2).

A block has the shape of the parent, scaled to its number of atoms. It is the parent's atoms in a
half-open box, moved to the origin, and becomes periodic itself. Atoms that are missing or too many
are added or removed only within a skin below the six cut faces. Each face is divided into regions;
those with the fewest atoms per area receive, those with the most give. The paper leaves open what
is random and how thick the boundary is. Here: one atom at a time, the region of lowest (highest)
density, ties by lot, densities counted again after each; a removed atom is any of the region's, an
added one lies anywhere in the region that is not too near another atom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.amorphous.slicing_kernel import closest_pair, cut, fill
from dismaiflow.errors import DismaiError
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.amorphous.parent import ParentBox

Split = Literal["disjoint", "random"]

#: Decimals of an extended XYZ file: positions are rounded to them, lengths are cut off there.
_DECIMALS = 8

#: The axis along which a parent is divided into a part to train on and one to validate on. The
#: parent is as many blocks long along each.
_AXIS = 0

#: Length of the shorter zone of the disjoint split, in blocks, where the parent allows.
_LEAST_ZONE = 1.25

#: Children of the seed.
_SHIFT, _SETS = 0, {"train": 1, "val": 2}

#: Share of the first-neighbour distance that an added atom keeps from all others by default.
MIN_DISTANCE_SHARE = 0.75


@dataclass(frozen=True)
class SliceSettings:
    """How blocks are cut.

    Parameters
    ----------
    skin : float
        Thickness of the layer below a cut face in which atoms are added or removed, Å; one
        first-neighbour distance reaches every atom that lost a bond to the cut.
    min_distance : float
        How near an added atom may come to another, Å, images of the block included. Where no
        region has room, it is lowered by tenths, and reported.
    face_grid : 2 int
        Regions of a face along its two axes, in the order x, y, z.
    """

    skin: float
    min_distance: float
    face_grid: tuple[int, int] = (2, 2)

    @classmethod
    def for_neighbours(
        cls,
        distance: float,
        face_grid: tuple[int, int] = (2, 2),
        skin: float | None = None,
        min_distance: float | None = None,
    ) -> SliceSettings:
        """Return settings for a material whose first neighbours are ``distance`` Å apart."""
        return cls(skin or distance, min_distance or MIN_DISTANCE_SHARE * distance, face_grid)


@dataclass(frozen=True)
class Zone:
    """A part of the parent along x in which whole blocks must lie.

    Parameters
    ----------
    start, length : float
        Å; it may wrap around the end of the parent.
    """

    start: float
    length: float


@dataclass(frozen=True)
class SlicedBlocks:
    """Blocks, and where they come from.

    Parameters
    ----------
    structures : StructureSet
        The blocks; labels ``offset_x``, ``offset_y``, ``offset_z`` (Å in the parent),
        ``n_added``, ``n_removed``.
    parent_index : ndarray of int64, shape (n_blocks, n_atoms)
        Atom of the parent that each atom is; -1 for an added one.
    closest_pair : ndarray, shape (n_blocks,)
        Shortest distance in each periodic block, Å.
    min_distance : ndarray, shape (n_blocks,)
        Least distance that its added atoms were allowed, Å.
    """

    structures: StructureSet
    parent_index: NDArray[np.int64]
    closest_pair: NDArray[np.float64]
    min_distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.structures)


def block_lengths(lengths: NDArray[np.float64], n_parent: int, n_block: int) -> NDArray[np.float64]:
    """Return the edges of a block, L_parent (n_block / n_parent)^(1/3).

    Parameters
    ----------
    lengths : ndarray, shape (3,)
        Edges of the parent, Å.
    n_parent, n_block : int
        Atoms of both.

    Returns
    -------
    ndarray, shape (3,)
        Å, cut off after eight decimals.
    """
    scaled = np.asarray(lengths, dtype=float) * (n_block / n_parent) ** (1 / 3)
    # The small amount keeps a length that is a whole number of units from losing one.
    return np.floor(scaled * 10**_DECIMALS + 1e-4) / 10**_DECIMALS


def split_zones(
    lengths: NDArray[np.float64],
    edges: NDArray[np.float64],
    train_fraction: float,
    seed: np.random.SeedSequence,
) -> dict[str, Zone]:
    """Divide a parent into a zone to train on and one to validate on.

    The zones share the length as the sets share the blocks. A zone of one block would leave its
    blocks no choice along this axis, so each is `_LEAST_ZONE` blocks long, or, in a parent too
    small for that, takes its share of what is left over two blocks. Where they begin is drawn
    from the seed.

    Parameters
    ----------
    lengths, edges : ndarray, shape (3,)
        Edges of the parent and of a block, Å.
    train_fraction : float
        Share of the training set.
    seed : numpy.random.SeedSequence
        The seed of the dataset.

    Raises
    ------
    DismaiError
        If the parent is shorter than two blocks.
    """
    length, edge = float(lengths[_AXIS]), float(edges[_AXIS])
    _check_room(length / edge)

    def least(share: float) -> float:
        return min(edge + share * (length - 2 * edge), _LEAST_ZONE * edge)

    wanted = max((1 - train_fraction) * length, least(1 - train_fraction))
    validation = min(wanted, length - least(train_fraction))
    start = float(_rng(seed, _SHIFT).random() * length)
    training = length - validation
    return {"train": Zone(start, training), "val": Zone(start + training, validation)}


def check_size(n_parent: int, n_block: int) -> None:
    """Check that a parent can be divided into blocks to train on and blocks to validate on.

    Parameters
    ----------
    n_parent, n_block : int
        Atoms of both.

    Raises
    ------
    DismaiError
        If the parent is shorter than two blocks.
    """
    # The cube root of eight is not two to the last digit.
    _check_room((n_parent / n_block) ** (1 / 3) + 1e-9)


def _check_room(blocks: float) -> None:
    if blocks < 2:
        raise DismaiError(
            f"the parent is {blocks:.2f} blocks long, and training and validation blocks that "
            "share no atom need 2, which are 8 times the atoms of a block: take a larger parent "
            "(key 'parent.n_atoms', or another file), or the random split"
        )


def sliced_sets(
    parent: ParentBox,
    composition: Mapping[str, int],
    counts: Mapping[str, int],
    settings: SliceSettings,
    split: Split,
    train_fraction: float,
    seed: np.random.SeedSequence,
) -> dict[str, SlicedBlocks]:
    """Cut training and validation blocks.

    Parameters
    ----------
    parent : ParentBox
        The parent.
    composition : dict
        Atoms of each element in a block.
    counts : dict of str to int
        Blocks of ``train`` and ``val``.
    settings : SliceSettings
        How.
    split : {"disjoint", "random"}
        Whether blocks of the two sets keep to parts of the parent that share no atom, or lie
        anywhere (paper).
    train_fraction : float
        Share of the training set; sets the zones of the disjoint split.
    seed : numpy.random.SeedSequence
        Block i of a set depends on it and on i only.

    Raises
    ------
    DismaiError
        If the parent is too small, or a block cannot be mended within the skin.
    """
    edges = block_lengths(parent.lengths, len(parent), sum(composition.values()))
    zones: dict[str, Zone] = {}
    if split == "disjoint":
        zones = split_zones(parent.lengths, edges, train_fraction, seed)
    return {
        name: slice_blocks(
            parent, composition, n, settings, _child(seed, _SETS[name]), zones.get(name)
        )
        for name, n in counts.items()
    }


def slice_blocks(
    parent: ParentBox,
    composition: Mapping[str, int],
    n_blocks: int,
    settings: SliceSettings,
    seed: np.random.SeedSequence,
    zone: Zone | None = None,
    first: int = 0,
) -> SlicedBlocks:
    """Cut blocks at random places.

    Parameters
    ----------
    parent : ParentBox
        The parent.
    composition : dict
        Atoms of each element in a block; species are listed in this order.
    n_blocks : int
        How many.
    settings : SliceSettings
        How.
    seed : numpy.random.SeedSequence
        Block i depends on it and on i only.
    zone : Zone, optional
        Part of the parent in which they lie; all of it by default.
    first : int
        Number of the first block.

    Raises
    ------
    DismaiError
        If the parent is smaller than a block, the skin too thick, or a block cannot be mended
        within the skin.
    """
    n_atoms = sum(composition.values())
    edges = block_lengths(parent.lengths, len(parent), n_atoms)
    check_block(len(parent), n_atoms, settings.skin, float(edges.min()))
    targets = np.array(list(composition.values()), dtype=np.int64)
    species = np.array([atomic_numbers[symbol] for symbol in composition], dtype=np.int64)
    kinds = np.searchsorted(np.sort(species), parent.numbers)
    kinds = np.argsort(species)[kinds]
    places = np.mod(parent.positions, parent.lengths)
    positions = np.empty((n_blocks, n_atoms, 3))
    index = np.empty((n_blocks, n_atoms), dtype=np.int64)
    offsets, changes = np.empty((n_blocks, 3)), np.empty((n_blocks, 2), dtype=np.int64)
    closest, allowed = np.empty(n_blocks), np.empty(n_blocks)
    grid = np.array(settings.face_grid, dtype=np.int64)
    for block in range(n_blocks):
        rng = _rng(seed, first + block)
        offsets[block] = _offset(rng, parent.lengths, edges, zone)
        inside, local = cut(places, parent.lengths, offsets[block], edges)
        origin, final, final_kinds, *changed, allowed[block], lacking = fill(
            rng, inside, local, kinds[inside], edges, targets, grid, settings.skin,
            settings.min_distance,
        )  # fmt: skip
        if lacking >= 0:
            raise DismaiError(
                f"key 'block.skin': block {first + block} has too many "
                f"{list(composition)[lacking]} atoms and none within {settings.skin:g} Å of its "
                "faces to remove: take a thicker skin, or a parent of even composition"
            )
        order = np.argsort(final_kinds, kind="stable")
        positions[block], index[block] = _rounded(final[order], edges), origin[order]
        changes[block] = changed
        closest[block] = closest_pair(positions[block], edges)
    labels: dict[str, NDArray[Any]] = {
        f"offset_{axis}": offsets[:, k] for k, axis in enumerate("xyz")
    }
    labels |= {"n_added": changes[:, 0], "n_removed": changes[:, 1]}
    numbers = np.tile(np.repeat(species, targets), (n_blocks, 1))
    structures = StructureSet.uniform(numbers, positions, np.diag(edges), labels)
    return SlicedBlocks(structures, index, closest, allowed)


def check_block(n_parent: int, n_block: int, skin: float, edge: float) -> None:
    """Check that blocks fit into a parent, and their skins into the blocks.

    Parameters
    ----------
    n_parent, n_block : int
        Atoms of both.
    skin : float
        Depth of the boundary, Å.
    edge : float
        Shortest edge of a block, Å.

    Raises
    ------
    DismaiError
        If one does not fit.
    """
    if n_parent < n_block:
        raise DismaiError(
            f"the parent has {n_parent} atoms, less than one block of {n_block}: take a larger "
            "parent (key 'parent.n_atoms', or another file)"
        )
    if not 0 < skin < edge / 2:
        raise DismaiError(
            f"key 'block.skin' is {skin:g} Å, but must be less than half the shortest edge of a "
            f"block, {edge / 2:.3f} Å"
        )


def _offset(
    rng: np.random.Generator,
    lengths: NDArray[np.float64],
    edges: NDArray[np.float64],
    zone: Zone | None,
) -> NDArray[np.float64]:
    """Draw the corner of a block, Å."""
    drawn = rng.random(3)
    offset = drawn * lengths
    if zone is not None:
        room = max(zone.length - edges[_AXIS], 0.0)
        offset[_AXIS] = zone.start + drawn[_AXIS] * room
    return np.mod(offset, lengths)


def _rounded(positions: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the decimals of a file; what reaches the far face is at the near one."""
    rounded = np.round(positions, _DECIMALS)
    return np.where(rounded >= edges, 0.0, rounded)


def _child(seed: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))


def _rng(seed: np.random.SeedSequence, number: int) -> np.random.Generator:
    return np.random.default_rng(_child(seed, number))
