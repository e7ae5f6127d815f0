"""The protocol ``published`` against what the published scripts gave (tests/data/published_alloy).

Everything that the scripts determine must agree to 1e-9. The README there names what they leave to
rounding errors: the species in ``mirror/fixed``, and the order of the atoms in two more places.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.alloy_scoring import AlloyScorer
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import Failure
from dismaiflow.metrics.clusters import fingerprint_labels
from dismaiflow.metrics.order import order_labels
from dismaiflow.metrics.rotated_sites import assign_rotated
from dismaiflow.structures.read import read_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

DATA = Path(__file__).parents[1] / "data" / "published_alloy"
MANIFEST = json.loads((DATA / "manifest.json").read_text())
ALIGNMENTS = ["fixed", "translated", "rotated"]
SETS = sorted(p.name for p in DATA.iterdir() if p.is_dir() and p.name != "reference")
CASES = [(s, a) for s in SETS for a in ALIGNMENTS]
SPECIES_UNDETERMINED = [tuple(k.split("/")) for k in MANIFEST["undetermined"]["species"]]
ORDER_UNDETERMINED = [tuple(k.split("/")) for k in MANIFEST["undetermined"]["order_of_atoms"]]

TOLERANCE = 1e-9


@cache
def alloy() -> AlloySystem:
    return AlloySystem.from_spec(get_system("alloy-300K-wide"))


@cache
def inputs(name: str) -> StructureSet:
    found = read_structures(DATA / name / "input.extxyz")
    assert not found.bad
    return found.structures


@cache
def analyser(alignment: Any) -> AlloyAnalyser:
    return AlloyAnalyser(alloy(), ScoringProtocol(name="published", alignment=alignment))


@cache
def counts(name: str, alignment: str) -> AlloyCounts:
    structures = inputs(name)
    return analyser(alignment).count_generated(structures, np.arange(len(structures)))


def status(name: str, alignment: str) -> list[dict[str, Any]]:
    return json.loads((DATA / name / alignment / "status.json").read_text())["structures"]


def table(name: str, alignment: str, file: str) -> dict[int, dict[str, float]]:
    """Read a table of the scripts: by structure index, the other columns by name."""
    with (DATA / name / alignment / file).open(newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    assert reader.fieldnames
    index = reader.fieldnames[0]
    return {
        int(row[index]): {k: float(v) if v else np.nan for k, v in row.items() if k != index}
        for row in rows
    }


def counted(name: str, alignment: str) -> list[dict[str, Any]]:
    """Return the structures that got through post-processing and counting."""
    return [s for s in status(name, alignment) if s["accepted"] and s["counted"]]


def with_counts(cases: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [case for case in cases if counted(*case)]


def test_there_is_something_to_compare() -> None:
    """The test data are whole: nine sets, three alignments, 69 counted structures."""
    assert len(SETS) == 9
    assert sum(len(counted(*case)) for case in CASES) == sum(
        result["counted"] for result in MANIFEST["results"].values()
    )
    assert SPECIES_UNDETERMINED == [("mirror", "fixed")]
    assert ORDER_UNDETERMINED == [("perfect", "rotated"), ("mirror", "rotated")]


@pytest.mark.parametrize(("name", "alignment"), CASES)
def test_the_same_structures_are_scored(name: str, alignment: str) -> None:
    """And the others fail for the reason that stopped the scripts."""
    found = counts(name, alignment)
    assert found.indices.tolist() == [s["index"] for s in counted(name, alignment)]
    bad = {frame.index: frame for frame in found.bad}
    for entry in status(name, alignment):
        if entry["accepted"] and entry["counted"]:
            assert entry["index"] not in bad
        elif entry["removed"] is not None and not entry["accepted"]:
            assert bad[entry["index"]].reason == "too_many_removed"
            assert bad[entry["index"]].detail.startswith(f"{entry['removed']} atoms ")
        else:
            assert bad[entry["index"]].reason == "no_lattice"


@pytest.mark.parametrize(
    ("name", "alignment"), [c for c in with_counts(CASES) if c not in SPECIES_UNDETERMINED]
)
def test_fingerprints_energies_and_order(name: str, alignment: str) -> None:
    """45 cluster probabilities, the formation energy, 12 Warren-Cowley parameters."""
    features = analyser(alignment).features(counts(name, alignment))
    species = alloy().species
    probabilities = table(name, alignment, "cluster_prob.csv")
    energies = table(name, alignment, "formation_energy.csv")
    order = table(name, alignment, "cluster_sro.csv")
    for i, entry in enumerate(counted(name, alignment)):
        row = entry["count_row"]
        expected = [probabilities[row][label] for label in fingerprint_labels(species, 7)]
        assert len(expected) == 45
        assert features.fingerprints[i] == pytest.approx(expected, abs=TOLERANCE)
        (energy,) = energies[row].values()
        assert features.energies[i] == pytest.approx(energy, abs=TOLERANCE)
        expected = [order[row][label] for label in order_labels(species, 2)]
        assert len(expected) == 12
        assert features.order[i] == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)


@pytest.mark.parametrize(("name", "alignment"), with_counts(CASES))
def test_vacancies_that_the_metric_takes(name: str, alignment: str) -> None:
    """The post-processor's for fixed and translated, the counting's for rotated."""
    assert MANIFEST["metrics"][alignment]["vacancies_from"].endswith(
        "the counting" if alignment == "rotated" else "the post-processor"
    )
    entries = counted(name, alignment)
    if alignment == "rotated":
        found = table(name, alignment, "vac_count.csv")
        expected = [found[entry["clean_index"]]["vac_count"] for entry in entries]
    else:
        found = table(name, alignment, "postprocess_vac_count.csv")
        expected = [found[entry["index"]]["vac_count"] for entry in entries]
        assert expected == [entry["removed"] for entry in entries]
    assert counts(name, alignment).n_vacancies.tolist() == expected


@pytest.mark.parametrize("name", SETS)
def test_atoms_that_rotated_removes(name: str) -> None:
    """How many, which, and in which order and pass the others are accepted."""
    removed = table(name, "rotated", "postprocess_atoms_removed_count.csv")
    for entry in status(name, "rotated"):
        part = inputs(name).slice_of(entry["index"])
        found = assign_rotated(alloy().lattice, inputs(name).positions[part])
        assert found is not None
        assert found.n_removed == entry["removed"]
        if entry["accepted"]:
            assert removed[entry["index"]]["number_atoms_removed"] == entry["removed"]
        if (name, "rotated") not in ORDER_UNDETERMINED:
            first, second = entry["detail"]["first_pass"], entry["detail"]["second_pass"]
            assert len(found.atoms) == first + len(second)
            assert found.atoms[first:].tolist() == second


@pytest.mark.parametrize("name", [s for s in SETS if counted(s, "rotated")])
def test_structures_that_rotated_writes(name: str) -> None:
    """The accepted atoms at their own positions, sorted by electronegativity: Cr, Fe, Ni."""
    clean = read_structures(DATA / name / "rotated" / "clean.extxyz").structures
    for entry in status(name, "rotated"):
        if not entry["accepted"]:
            continue
        part = inputs(name).slice_of(entry["index"])
        numbers, positions = inputs(name).numbers[part], inputs(name).positions[part]
        sites = assign_rotated(alloy().lattice, positions)
        assert sites is not None
        written = clean.slice_of(entry["clean_index"])
        theirs = np.column_stack([clean.numbers[written], clean.positions[written]])
        ours = np.column_stack([numbers[sites.atoms], positions[sites.atoms]])
        if (name, "rotated") in ORDER_UNDETERMINED:
            ours, theirs = (x[np.lexsort(x.round(6).T[::-1])] for x in (ours, theirs))
        else:
            ours = ours[np.argsort(ours[:, 0], kind="stable")]
        difference = ours - theirs
        difference[:, 1:] -= 14.4 * np.rint(difference[:, 1:] / 14.4)
        assert np.abs(difference).max() < 1e-7


@pytest.mark.parametrize(
    ("name", "alignment"),
    [c for c in with_counts(CASES) if c[1] != "rotated" and c not in SPECIES_UNDETERMINED],
)
def test_structures_that_are_snapped_to_sites(name: str, alignment: str) -> None:
    """As many atoms of each species as the scripts write."""
    clean = read_structures(DATA / name / alignment / "clean.extxyz").structures
    found = counts(name, alignment)
    for i, entry in enumerate(counted(name, alignment)):
        numbers = clean.numbers[clean.slice_of(entry["clean_index"])]
        expected = [int((numbers == z).sum()) for z in (24, 26, 28)]
        assert alloy().species == ("Cr", "Fe", "Ni")
        assert found.monomers[i].tolist() == expected


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_metrics_of_all_members(alignment: str) -> None:
    """Rejected structures, the distance and the vacancies with their bootstrap intervals."""
    with (DATA / f"metrics_{alignment}.csv").open(newline="") as stream:
        rows = {row["metric"]: row for row in csv.DictReader(stream)}
    what = MANIFEST["metrics"][alignment]
    members = what["members"]
    structures = StructureSet.concatenate([inputs(name).select([i]) for name, i in members])
    ours = analyser(alignment)
    found = ours.count_generated(structures, np.arange(len(members)))
    assert (len(members), len(found)) == (what["n_strucs_ori"], what["n_accepted"])
    failed = [Failure(file=0, index=b.index, reason=b.reason) for b in found.bad]
    reference = ours.count_reference(inputs("reference"))
    assert len(reference) == 6
    run = AlloyScorer(ours, reference).score_run(found, len(members), failed)

    rejected = rows["Rejected structures (%)"]
    assert run.metrics["percent_failed"].value == pytest.approx(
        float(rejected["value"]), abs=TOLERANCE
    )
    for metric, label in [
        ("d_cluster", "Cluster probability Euclidean distance"),
        ("percent_with_vacancies", "Accepted structures with vacancies (%)"),
    ]:
        found_metric = run.metrics[metric]
        assert found_metric.value is not None
        assert found_metric.ci95 is not None
        value, low, high = (float(rows[label][k]) for k in ("value", "lower error", "upper error"))
        assert found_metric.value == pytest.approx(value, abs=TOLERANCE)
        assert found_metric.value - found_metric.ci95[0] == pytest.approx(low, abs=TOLERANCE)
        assert found_metric.ci95[1] - found_metric.value == pytest.approx(high, abs=TOLERANCE)


def test_perfect_structures_have_a_vacancy_under_fixed() -> None:
    """The README's quirk: the atom with index 0, if exactly on its site, is not seen."""
    assert counts("perfect", "fixed").n_vacancies.tolist() == [1, 1, 1, 1]
    assert counts("perfect", "translated").n_vacancies.tolist() == [0, 0, 0, 0]
