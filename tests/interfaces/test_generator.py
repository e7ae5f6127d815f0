from __future__ import annotations

import io
from collections import Counter

import ase.io
import numpy as np
import pytest
from ase.geometry import cell_to_cellpar
from scipy import stats

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.slab import Host
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.structures.read import read_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems.registry import get_system

from .hosts import (
    SPECIES,
    lsc_lco,
    lsc_lco_host,
    lsc_lco_parts,
    small_interfaces,
)

EXCHANGED = ("exchanged_Sc_Co", "exchanged_Li_Co", "exchanged_Cl_O")


@pytest.fixture(scope="module")
def thousand():
    return lsc_lco().generate(range(1000), seed=7).structures


@pytest.fixture(scope="module")
def exchanged():
    return lsc_lco().generate(range(1000), seed=7, exchanges=True).structures


def by_structure(structures):
    n = len(structures)
    return structures.numbers.reshape(n, -1), structures.positions.reshape(n, -1, 3)


def heights(structures):
    """Split by height: below the top plane, in it, in the region, in the film."""
    _, positions = by_structure(structures)
    # The slab of LiCoO2 is 3 times 2.82965 / 2 = 4.24448 Å high.
    z = positions[:, :, 2] - 4.244475
    thickness = structures.labels["thickness"][:, None]
    return np.select([z < -0.1, z < 1e-6, z < thickness - 1e-6], [0, 1, 2], 3)


def test_the_atoms_of_the_paper(thousand):
    # Section 4.1.3: 264 atoms; the region holds 3 formula units of Li3ScCl6.
    numbers, _ = by_structure(thousand)
    assert numbers.shape == (1000, 264)
    assert (numbers == numbers[0]).all()
    symbols = thousand.atoms(0).get_chemical_symbols()
    assert symbols == ["Li"] * 72 + ["Co"] * 36 + ["Sc"] * 12 + ["Cl"] * 72 + ["O"] * 72
    assert lsc_lco().composition == {"Li": 72, "Co": 36, "Sc": 12, "Cl": 72, "O": 72}
    place = heights(thousand)
    assert ((place == 2).sum(axis=1) == 30).all()
    assert ((place == 1).sum(axis=1) == 36).all()
    assert ((place == 3).sum(axis=1) == 90).all()


def test_the_cell_of_the_paper(thousand):
    lengths_angles = cell_to_cellpar(thousand.cells[0])
    assert lengths_angles[:2] == pytest.approx([12.46997, 17.19967], abs=0.01)
    assert lengths_angles[5] == pytest.approx(75.667, abs=0.01)
    assert (thousand.cells == thousand.cells[0]).all()
    _, positions = by_structure(thousand)
    occupied = np.ptp(positions[:, :, 2], axis=1)
    assert (thousand.cells[0, 2, 2] - occupied >= 14 - 1e-6).all()


def test_thickness_and_displacement_are_uniform(thousand):
    labels = thousand.labels
    for values, low, high in (
        (labels["thickness"], 4, 6),
        (labels["shift_a"], 0, 1),
        (labels["shift_b"], 0, 1),
    ):
        assert low <= values.min() <= values.max() < high
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.01
        counts = np.histogram(values, 10, (low, high))[0]
        assert stats.chisquare(counts).pvalue > 0.01


def test_labels_say_what_was_built(thousand):
    numbers, positions = by_structure(thousand)
    place = heights(thousand)
    film = np.where(place == 3, positions[:, :, 2], np.inf).min(axis=1)
    assert np.allclose(film - 4.244475, thousand.labels["thickness"], atol=1e-7)
    # The Sc of the film, in the order of the host, moved by the displacement of the film.
    host = lsc_lco_host().film
    sites = host.positions[host.numbers == 21]
    inverse = np.linalg.inv(host.vectors)
    own = positions[:, numbers[0] == 21][:, 3:]
    moved = (own[:, :, :2] - sites[:, :2]) @ inverse
    shift = np.column_stack([thousand.labels["shift_a"], thousand.labels["shift_b"]])
    apart = moved - shift[:, None, :]
    assert np.abs(apart - np.rint(apart)).max() < 1e-7
    assert (thousand.labels["distance_scale"] == 0.75).all()
    assert thousand.labels["index"].tolist() == list(range(1000))


def test_atoms_lie_in_the_cell(thousand):
    _, positions = by_structure(thousand)
    fractions = positions @ np.linalg.inv(thousand.cells[0])
    assert fractions.min() > -1e-8
    assert fractions.max() < 1


def test_slabs_are_those_of_the_host(thousand):
    substrate = lsc_lco_host().substrate
    _, positions = by_structure(thousand)
    low = heights(thousand) <= 1
    assert (low.sum(axis=1) == 144).all()
    for i in (0, 500):
        found = positions[i][low[i]]
        apart = found[:, None, :] - substrate.positions
        fractions = apart[:, :, :2] @ np.linalg.inv(substrate.vectors)
        apart[:, :, :2] = (fractions - np.rint(fractions)) @ substrate.vectors
        assert np.linalg.norm(apart, axis=-1).min(axis=0).max() < 1e-7


@pytest.mark.parametrize("which", ["thousand", "exchanged"])
def test_order_is_region_then_top_layer_then_rest(which, request):
    structures = request.getfixturevalue(which)
    numbers, _ = by_structure(structures)
    # 0 region, 1 top plane of the substrate, 2 rest.
    rank = np.array([2, 1, 0, 2])[heights(structures)]
    for symbol in np.unique(numbers[0]):
        ranks = rank[:, numbers[0] == symbol]
        assert (np.diff(ranks, axis=1) >= 0).all()


def test_exchanges_keep_the_composition_and_move_nothing(thousand, exchanged):
    plain, plain_positions = by_structure(thousand)
    swapped, positions = by_structure(exchanged)
    assert (swapped == plain).all()
    for i in range(0, 1000, 111):
        # Same sites, in another order: the random numbers of the filling are not touched.
        first, second = (
            p[np.lexsort(np.round(p, 6).T)] for p in (plain_positions[i], positions[i])
        )
        assert np.array_equal(first, second)
    for name in ("thickness", "shift_a", "shift_b"):
        assert np.array_equal(thousand.labels[name], exchanged.labels[name])


def test_each_kind_of_exchange_has_its_frequency(exchanged):
    # Section 4.5 of the paper: up to 3, 3 and 6.
    numbers, _ = by_structure(exchanged)
    place = heights(exchanged)
    for name, limit, number, before in zip(
        EXCHANGED, (3, 3, 6), (21, 3, 17), (0, 9, 0), strict=True
    ):
        in_layer = ((place == 1) & (numbers == number)).sum(axis=1) - before
        assert np.array_equal(in_layer, exchanged.labels[name])
        counts = np.bincount(in_layer, minlength=limit + 1)
        assert len(counts) == limit + 1
        assert stats.chisquare(counts).pvalue > 0.01
    in_region = ((place == 2) & (numbers == 27)).sum(axis=1)
    expected = exchanged.labels["exchanged_Sc_Co"] + exchanged.labels["exchanged_Li_Co"]
    assert np.array_equal(in_region, expected)


def test_the_spec_says_whether_a_dataset_has_exchanges(thousand):
    # in_dataset is false in the spec of lsc-lco.
    assert not set(EXCHANGED) & set(thousand.labels)
    wanted = lsc_lco_parts().exchanges.model_copy(update={"in_dataset": True})
    parts = lsc_lco_parts()._replace(exchanges=wanted)
    made = RandomInterfaces(lsc_lco_host(), parts, SPECIES).generate(range(2), seed=0)
    assert set(EXCHANGED) <= set(made.structures.labels)


@pytest.mark.parametrize("sampling", ["random", "stratified", "quasi-random"])
def test_chunks_give_the_same_bits(sampling):
    options = {"seed": 3, "n_total": 12, "sampling": sampling, "exchanges": True}
    whole = lsc_lco().generate(range(12), **options).structures
    parts = [lsc_lco().generate(i, **options).structures for i in ([0], range(1, 7), range(7, 12))]
    assert whole.to_bytes() == StructureSet.concatenate(parts).to_bytes()
    backwards = lsc_lco().generate([9, 2], **options).structures
    assert backwards.to_bytes() == whole.select([9, 2]).to_bytes()


def test_points_take_the_place_of_sampling():
    points = np.array([[0.0, 0.25, 0.5], [1.0, 0.0, 0.75]])
    made = lsc_lco().generate([5, 2], seed=3, points=points).structures
    # 4 to 6 Å, and the whole of both vectors.
    assert made.labels["thickness"].tolist() == [4.0, 6.0]
    assert made.labels["shift_a"].tolist() == [0.25, 0.0]
    assert made.labels["shift_b"].tolist() == [0.5, 0.75]
    again = lsc_lco().generate([2], seed=3, points=points[1:]).structures
    assert again.to_bytes() == made.select([1]).to_bytes()


@pytest.mark.parametrize(
    "points", [np.zeros((1, 3)), np.full((2, 3), 1.1), np.full((2, 3), np.nan)]
)
def test_points_that_do_not_fit(points):
    with pytest.raises(DismaiError, match="2 structures need 2 points of the unit cube"):
        lsc_lco().generate([0, 1], seed=0, points=points)


def test_seeds_differ(thousand):
    other = lsc_lco().generate(range(5), seed=8).structures
    assert (other.positions != thousand.positions[: 5 * 264]).mean() > 0.4
    assert other.content_hash != thousand.select(range(5)).content_hash


def test_the_content_hash_survives_an_extxyz_file(tmp_path, exchanged):
    part = exchanged.select(range(50))
    path = tmp_path / "part.extxyz"
    ase.io.write(path, list(part), format="extxyz")
    assert read_structures(path).structures.content_hash == part.content_hash
    text = io.StringIO()
    ase.io.write(text, part.atoms(0), format="extxyz")
    assert "thickness=" in text.getvalue()


def test_a_small_interface():
    made = small_interfaces().generate(range(20), seed=0)
    assert made.report.n_made == len(made.structures) == 20
    assert made.structures.formula(0) == "F5Li5Mg4O4"


def test_failures_are_reported_not_dropped():
    # Eleven formula units fit where the region is thick and do not where it is thin.
    made = small_interfaces(11, thickness=(3.0, 8.0)).generate(range(40), seed=0)
    report = made.report
    assert 0 < report.n_made < 40
    assert report.n_requested == 40 == report.n_made + len(report.failures)
    failed = {failure.index for failure in report.failures}
    assert [int(name) for name in made.structures.ids] == [i for i in range(40) if i not in failed]
    assert "no room for 22 atoms in a region 3." in " ".join(f.reason for f in report.failures)
    scales = Counter(made.structures.labels["distance_scale"].tolist())
    assert report.n_lowered == report.n_made - scales[0.75]
    assert report.lowest_scale == min(scales)


def test_a_region_that_never_fits_names_the_keys():
    with pytest.raises(DismaiError) as caught:
        small_interfaces(40, thickness=(3.0, 3.5)).generate(range(100), seed=0)
    message = str(caught.value)
    assert "key 'region.thickness': none of the first 20 structures took its 80 atoms" in message
    assert "'region.min_distances.scale'" in message
    assert "\n" not in message


def test_exchanges_that_no_spec_describes():
    with pytest.raises(DismaiError, match="key 'exchanges' is missing"):
        small_interfaces().generate([0], seed=0, exchanges=True)


def test_a_cell_too_low_for_the_vacuum():
    host = lsc_lco_host()
    cell = host.cell.copy()
    cell[2, 2] = 30.0
    # 4.2445 + 6 + 8.9610 + 14 Å.
    with pytest.raises(DismaiError, match=r"c is 30\.00 Å, .* take 33\.21 Å"):
        RandomInterfaces(Host(host.substrate, host.film, cell), lsc_lco_parts(), SPECIES)


def test_species_that_are_not_listed():
    with pytest.raises(DismaiError, match="key 'composition' lacks O"):
        RandomInterfaces(lsc_lco_host(), lsc_lco_parts(), ("Li", "Co", "Sc", "Cl"))


def test_the_system_of_the_library():
    system = InterfaceSystem.from_spec(get_system("lsc-lco"))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    made = generator.generate(range(20), seed=1)
    assert made.report.n_made == 20
    assert made.structures.formula(0) == "Cl72Co36Li72O72Sc12"
    place = heights(made.structures)
    assert ((place == 2).sum(axis=1) == 30).all()
