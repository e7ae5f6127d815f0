"""Structures become images and come back; pixels against a naive implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.data import atomic_numbers  # noqa: E402

from dismaiflow.models.crystens.reconstruction import reconstruct  # noqa: E402
from dismaiflow.models.crystens.representation import Layout, padding_for  # noqa: E402
from dismaiflow.models.data.fixed_cell import FixedCellData  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402
from dismaiflow.systems import get_system  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYSTEMS = ["alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide",
           "amorphous-si", "lsc-lco"]  # fmt: skip
CELL = np.array([[6.0, 0.0, 0.0], [2.5, 5.5, 0.0], [-1.0, 2.0, 6.5]])


def known_of(numbers: list[int], n: int = 3, seed: int = 0) -> FixedCellData:
    """Return random structures in a skew cell, some atoms of them in other images of it."""
    rng = np.random.default_rng(seed)
    fractions = rng.random((n, len(numbers), 3)) + rng.integers(-2, 3, (n, len(numbers), 3))
    given = StructureSet.uniform([numbers] * n, fractions @ CELL, CELL)
    return FixedCellData.from_structures(given, "crystens")


def layout_of(known: FixedCellData, padding: int | None = None) -> Layout:
    return Layout.of(known, padding)


def apart(one: NDArray[np.float64], other: NDArray[np.float64], cell: NDArray[np.float64]) -> float:
    """Return the largest distance of atoms from where they were, images aside, Å."""
    between = one - other
    return float(np.linalg.norm((between - np.rint(between)) @ cell, axis=-1).max())


def naive(
    fractions: NDArray[np.float64], elements: list[int], all_of_them: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return the image of one structure, [0, 1], pixel after pixel from its description."""
    n = len(elements)
    image = np.zeros((4, side, side))
    pairs = [(s[i], s[j]) for s in all_of_them for i in range(n) for j in range(n)]
    lengths = [np.sqrt(sum((a - b) ** 2)) for a, b in pairs]
    for i in range(n):
        row = side - n + i
        for channel in range(4):
            span = max(elements) - min(elements)
            number = (elements[i] - min(elements)) / span if span else 0.0
            image[channel, 0, row] = image[channel, row, 0] = number
            for k in range(3):
                lo, hi = all_of_them[..., k].min(), all_of_them[..., k].max()
                pixel = (fractions[i, k] - lo) / (hi - lo)
                image[channel, 1 + k, row] = image[channel, row, 1 + k] = pixel
        for j in range(n):
            column = side - n + j
            length = np.sqrt(sum((fractions[i] - fractions[j]) ** 2))
            image[0, row, column] = (length - min(lengths)) / (max(lengths) - min(lengths))
            for k in range(3):
                deltas = [a[k] - b[k] for a, b in pairs]
                pixel = (fractions[i, k] - fractions[j, k] - min(deltas)) / (
                    max(deltas) - min(deltas)
                )
                image[1 + k, row, column] = pixel
    return image


@pytest.mark.parametrize("numbers", [[26, 24, 26, 28, 24], [14, 14, 14, 14]])
def test_pixels_are_those_of_the_description(numbers: list[int]) -> None:
    """Rows 0 to 10 are the border, then padding; one element and one cell are 0."""
    known = known_of(numbers)
    layout = layout_of(known, padding=2)
    assert layout.side == 11 + 2 + len(numbers)
    images = layout.encode(torch.from_numpy(known.fractions))
    elements = sorted(numbers, key=numbers.index)
    for image, fractions in zip(images, known.fractions, strict=True):
        wanted = naive(fractions, elements, known.fractions, layout.side)
        np.testing.assert_allclose((image.numpy() + 1) / 2, wanted, atol=1e-12)
    assert (images.min(), images.max()) == (-1, 1)


def test_the_padding_completes_multiples_of_32() -> None:
    """264 atoms make 288 with a padding of 13; 21 atoms need none for 32."""
    assert padding_for(264) == 13
    assert [11 + n + padding_for(n) for n in (8, 21, 22, 40, 256)] == [32, 32, 64, 64, 288]


@pytest.mark.parametrize("system", SYSTEMS)
def test_structures_come_back(system: str) -> None:
    """At full size, from single-precision pixels, to 1e-4 Å; atoms outside the cell as images."""
    spec = get_system(system)
    # Silicon's spec leaves the cell open: 256 atoms at 0.05 per cubic ångström.
    cell = np.array(spec.cell_vectors or 17.2 * np.eye(3))
    numbers = [atomic_numbers[s] for s, count in spec.composition.items() for _ in range(count)]
    rng = np.random.default_rng(1)
    order = rng.permutation(len(numbers))
    mixed = np.array(numbers)[order]
    fractions = 4 * rng.random((2, len(numbers), 3)) - 2
    given = StructureSet.uniform([mixed] * 2, fractions @ cell, cell)
    known = FixedCellData.from_structures(given, "crystens")
    layout = layout_of(known)
    assert layout.side == 288
    images = layout.encode(torch.from_numpy(known.fractions).float())
    for reading in ("rounded", "ranked"):
        found = reconstruct(layout, images, reading)
        np.testing.assert_array_equal(found.numbers, mixed[known.order][None].repeat(2, 0))
        assert apart(found.fractions.numpy(), fractions[:, known.order], cell) < 1e-4
    accuracy = found.statistics.pop("species_accuracy")
    assert accuracy.tolist() == [1, 1]
    assert torch.stack(list(found.statistics.values())).max() < 1e-6


def test_atoms_that_change_places_are_rows_and_columns_that_do() -> None:
    known = known_of([3] * 4 + [17] * 5)
    layout = layout_of(known)
    fractions = torch.from_numpy(known.fractions)
    places = torch.tensor([2, 0, 1, 3, 4, 5, 8, 7, 6])
    images, permuted = layout.encode(fractions), layout.encode(fractions[:, places])
    rows = torch.cat([torch.arange(layout.first), layout.first + places])
    assert torch.equal(permuted, images[:, :, rows][:, :, :, rows])
    assert not torch.equal(permuted, images)


def test_all_graphs_are_averaged() -> None:
    """An error of one difference moves one atom by its part; borders are averaged over eight."""
    known = known_of([3, 8, 8, 17])
    layout = layout_of(known)
    clean = layout.encode(torch.from_numpy(known.fractions))
    images = clean.clone()
    first = layout.first
    width = float(layout.span[5])  # of the differences along x
    # x of atom 1 less x of atom 3 is said to be 0.08 more: pixels go from -1 to 1.
    images[0, 1, first + 1, first + 3] += 2 * 0.08 / width
    moved = reconstruct(layout, images).fractions - reconstruct(layout, clean).fractions
    wanted = torch.zeros_like(moved)
    # Half of it is left when antisymmetric, and one of four graphs says so, about both atoms.
    wanted[0, 3, 0], wanted[0, 1, 0] = -0.08 / 2 / 4, 0.08 / 2 / 4
    torch.testing.assert_close(moved, wanted, atol=1e-12, rtol=0)
    images = clean.clone()
    images[0, 2, 2, first] += 2 * 0.08 / float(layout.span[2])  # y of atom 0 in one of eight places
    moved = reconstruct(layout, images).fractions - reconstruct(layout, clean).fractions
    wanted = torch.zeros_like(moved)
    wanted[0, :, 1] = 0.08 / 8 / 4  # all atoms hang on each graph
    torch.testing.assert_close(moved, wanted, atol=1e-12, rtol=0)


def test_statistics_of_a_disturbed_image() -> None:
    """Pixels of the fields that are constant, moved by hand."""
    known = known_of([3, 8, 8, 17], n=2)
    layout = layout_of(known)
    images = layout.encode(torch.from_numpy(known.fractions))
    images[:, :, 4:7, layout.first :] += 2 * 0.02  # upper border of the lengths: 0.02 Å
    images[:, :, layout.first :, 10] -= 2 * 0.5
    images[0, 0, layout.first, layout.first + 1] += 2 * 0.16 / float(layout.span[4])
    told = reconstruct(layout, images).statistics
    found = {name: values.mean().item() for name, values in told.items()}
    expected = {
        "species_accuracy": 1, "lattice_length_mae": 0.01, "lattice_angle_mae": 0,
        "space_group_mae": 0.25, "coordinate_mae": 0, "pair_distance_mae": 0.16 / 32,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-12)


def test_other_elements_are_read_as_such() -> None:
    """Pixels of the atomic number: 3 is 0, 17 is 1; 9.4 is no element of theirs, but above 8."""
    known = known_of([3, 8, 8, 17])
    layout = layout_of(known)
    images = layout.encode(torch.from_numpy(known.fractions))
    for row, number in ((layout.first, 9.4), (layout.first + 3, 15.2)):
        images[0, :, 0, row] = images[0, :, row, 0] = 2 * (number - 3) / (17 - 3) - 1
    assert reconstruct(layout, images).numbers[0].tolist() == [9, 8, 8, 15]
    # Of two pixels that are the same the first is the lighter atom.
    assert reconstruct(layout, images, "ranked").numbers[0].tolist() == [8, 3, 8, 17]


def test_a_layout_goes_through_json() -> None:
    layout = layout_of(known_of([3, 8, 8, 17]), padding=4)
    back = Layout.from_json(layout.to_json())
    assert (back.side, back.padding) == (layout.side, 4)
    for name in ("numbers", "low", "span"):
        assert torch.equal(getattr(back, name), getattr(layout, name))
