"""Videos of structures: by hand, there and back, and wrong species."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.data import atomic_numbers  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dismaiflow.errors import DismaiError  # noqa: E402
from dismaiflow.models.base import ModelData  # noqa: E402
from dismaiflow.models.data.shuffling import equal_atoms, permutations  # noqa: E402
from dismaiflow.models.ddpm.structures import known_structures  # noqa: E402
from dismaiflow.models.train.randomness import generator  # noqa: E402
from dismaiflow.models.unimat.representation import Video  # noqa: E402
from dismaiflow.models.unimat.settings import unimat_settings  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402
from dismaiflow.systems import get_system  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYSTEMS = [
    "alloy-300K-narrow",
    "alloy-300K-wide",
    "alloy-1500K-narrow",
    "alloy-1500K-wide",
    "amorphous-si",
    "lsc-lco",
]

#: (256 atoms of mass 28.0855 u / 2.285 g/cm^3)^(1/3), Å: the density of amorphous silicon.
SILICON_CELL = 17.35


def structures_of(system: str, n: int, seed: int) -> StructureSet:
    """Return structures of a system's composition and cell, their atoms anywhere, even outside."""
    spec = get_system(system)
    cell = SILICON_CELL * np.eye(3) if spec.cell_vectors is None else np.array(spec.cell_vectors)
    rng = np.random.default_rng(seed)
    if system == "lsc-lco":
        numbers = [atomic_numbers[s] for s, count in spec.composition.items() for _ in range(count)]
    else:
        counts = spec.composition or {"Fe": 154, "Ni": 51, "Cr": 51}
        listed = [atomic_numbers[s] for s, count in counts.items() for _ in range(count)]
        numbers = rng.permutation(listed).tolist()
    fractions = rng.uniform(-1.5, 2.5, (n, len(numbers), 3))
    return StructureSet.uniform(np.tile(numbers, (n, 1)), fractions @ cell, cell)


def video_of(structures: StructureSet, **changes: Any) -> tuple[Video, NDArray[np.float64]]:
    known, _ = known_structures(ModelData(structures), "unimat")
    options = unimat_settings(changes)
    return Video.of_training(known.fractions, known.counts, options), known.fractions


def test_a_video_by_hand() -> None:
    """Two Li and a Cl: x from 0.1 to 0.5 becomes 0 to 1; Cl has the second pixel of a frame."""
    fractions = np.array([[[0.1, 0.0, 0.5], [0.2, 0.5, 0.5], [0.5, 0.25, 0.5]]])
    video = Video.of_training(fractions, (2, 1), unimat_settings({"frame_size": [4, 8]}))
    found = video.encode(torch.tensor(fractions)).numpy()
    assert found.shape == (1, 3, 3, 4, 8)
    assert found.dtype == np.float32
    expected = np.full((1, 3, 3, 4, 8), -1.0)
    expected[0, :, 0, 0, 0] = [0, 0, 0]
    expected[0, :, 1, 0, 0] = [0.25, 1, 0]
    expected[0, :, 2, 0, 1] = [1, 0.5, 0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("system", SYSTEMS)
def test_any_structure_of_the_six_systems_comes_back(system: str) -> None:
    """To 1e-4 Å, also structures that the range was not taken from, and images outside the cell."""
    train, held_out = (structures_of(system, n, seed) for n, seed in ((3, 0), (2, 1)))
    held_out = StructureSet.concatenate([train.select(np.array([0])), held_out])
    video, _ = video_of(train)
    known, _ = known_structures(ModelData(held_out), "unimat")
    assert known.fractions.min() >= 0
    assert known.fractions.max() < 1
    found, wrong = video.decode(video.encode(torch.tensor(known.fractions)))
    assert not wrong.any()
    back = np.empty_like(found)
    back[:, known.order] = found
    first = held_out.positions.reshape(3, -1, 3)[0]
    apart = (back[0] @ known.cell - first) @ np.linalg.inv(known.cell)
    apart = (apart - np.round(apart)) @ known.cell
    assert np.abs(apart).max() < 1e-4
    assert np.abs((found - known.fractions) @ known.cell).max() < 1e-4


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=16),
    absent=st.floats(-1, -0.3),
)
def test_there_and_back(seed: int, counts: list[int], absent: float) -> None:
    """Any composition of up to as many species as a frame has pixels."""
    rng = np.random.default_rng(seed)
    fractions = rng.random((2, sum(counts), 3))
    video = Video.of_training(fractions, counts, unimat_settings({"absent_value": absent}))
    found, wrong = video.decode(video.encode(torch.tensor(fractions)))
    assert not wrong.any()
    np.testing.assert_allclose(found, fractions, atol=1e-6)


def published_rule(video: NDArray[np.float64], own: list[tuple[int, int]]) -> list[bool]:
    """Return which atoms are right: all pixels but one, rounded, have a channel of -1."""
    right = []
    for frame, place in enumerate(own):
        rounded = np.round(video[:, frame])
        rounded[:, place[0], place[1]] = -1
        right.append(all(rounded[:, i, j].min() == -1 for i in range(4) for j in range(4)))
    return right


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_species_are_read_by_the_published_rule(seed: int) -> None:
    """Absent pixels of any value near to -1, some of them beyond the limit of one half."""
    rng = np.random.default_rng(seed)
    video, fractions = video_of(structures_of("lsc-lco", 1, 0))
    shown = video.encode(torch.tensor(fractions)).numpy()
    shown = np.clip(shown + 0.23 * rng.normal(size=shown.shape), -1, 1)
    species = np.repeat(range(5), video.counts)
    own = [(int(s) // 4, int(s) % 4) for s in species]
    _, wrong = video.decode(torch.tensor(shown))
    assert wrong[0].tolist() == [not right for right in published_rule(shown[0], own)]


def test_a_pixel_of_another_species_is_wrong() -> None:
    """All three of its channels must be present; one that is absent hides it."""
    video, fractions = video_of(structures_of("lsc-lco", 2, 0))
    shown = video.encode(torch.tensor(fractions))
    shown[1, :2, 100, 0, 0] = 0.3
    assert not video.decode(shown)[1].any()
    shown[1, 2, 100, 0, 0] = -0.4
    wrong = video.decode(shown)[1]
    assert np.argwhere(wrong).tolist() == [[1, 100]]
    shown[0, :, 7, 3, 3] = float("nan")
    assert np.argwhere(video.decode(shown)[1]).tolist() == [[0, 7], [1, 100]]


def test_a_plane_has_no_range() -> None:
    """All atoms at z = 0.5: nothing to scale, nothing divided by zero."""
    fractions = np.random.default_rng(0).random((3, 4, 3))
    fractions[..., 2] = 0.5
    video = Video.of_training(fractions, (4,), unimat_settings({}))
    found, _ = video.decode(video.encode(torch.tensor(fractions)))
    np.testing.assert_allclose(found, fractions, atol=1e-6)


def test_more_species_than_pixels_are_refused() -> None:
    with pytest.raises(DismaiError, match="2 x 2 has no pixel for each of 5 species"):
        video_of(structures_of("lsc-lco", 1, 0), frame_size=[2, 2], dim_mults=[1, 2],
                 layer_attns=[False, True], layer_cross_attns=[False, True])  # fmt: skip


def test_atoms_of_the_region_change_places() -> None:
    """9 Li, 3 Sc and 18 Cl, which come first of their species; the structure stays the same."""
    structures = structures_of("lsc-lco", 1, 0)
    video, fractions = video_of(structures)
    known, _ = known_structures(ModelData(structures), "unimat")
    groups = equal_atoms(known, get_system("lsc-lco"), "shuffle-region", "unimat")
    order = permutations(1, 264, groups, generator(0))[0]
    moved = np.flatnonzero(order.numpy() != np.arange(264))
    # Li 72, Co 36, Sc 12, Cl 72, O 72
    region = [*range(9), *range(108, 111), *range(120, 138)]
    assert 15 <= len(moved) <= 30
    assert set(moved) <= set(region)
    found, wrong = video.decode(video.encode(torch.tensor(fractions[:, order.numpy()])))
    assert not wrong.any()
    for first, last in ((0, 72), (72, 108), (108, 120), (120, 192), (192, 264)):
        one, other = (np.sort(part[0, first:last], axis=0) for part in (found, fractions))
        np.testing.assert_allclose(one, other, atol=1e-6)
