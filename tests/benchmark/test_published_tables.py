"""The published tables, typed once more from the paper, and when a score stands beside them."""

# ruff: noqa: E501 (the rows as they are printed)
from __future__ import annotations

import re
from pathlib import Path

import pytest

from dismaiflow.benchmark import published
from dismaiflow.benchmark.published import (
    compare_with_published,
    lattice_denoising_row,
    published_systems,
    published_table,
    relaxation_table,
)
from dismaiflow.systems import get_system

#: The paper and its supplement as text, where somebody has put them beside the repository.
PAPERS = Path(__file__).parents[3] / "shared" / "paper"

NO_COPY = "this machine has no verified copy of the published data (`dismai data fetch`)"

#: Tables 1 to 3 of Digital Discovery 2024, 3, 1889, as printed.
TABLES = {
    "lsc-lco": """
CDVAE 0.0664 (0.0601, 0.0697) 0.0427 (0.0372, 0.0504) 0.201 (0.186, 0.214) 0.0547 (0.0508, 0.0589) 0.00 (0.00, 0.00)
DiffCSP 0.0439 (0.0414, 0.0474) 0.0272 (0.0240, 0.0298) 0.0954 (0.0909, 0.102) 0.0370 (0.0353, 0.0388) 7.17 (6.00, 8.90)
CrysTens 0.0202 (0.0160, 0.0244) 0.0141 (0.00707, 0.0239) 0.0972 (0.0888, 0.106) 0.0213 (0.0164, 0.0257) 55.3 (50.6, 61.7)
UniMat 0.131 (0.0966, 0.154) 0.235 (0.165, 0.292) 0.101 (0.0891, 0.111) 0.151 (0.111, 0.181) 64.6 (60.6, 68.3)
CryinGAN 0.0538 (0.0466, 0.0600) 0.0274 (0.0210, 0.0359) 0.0888 (0.0838, 0.0963) 0.0426 (0.0379, 0.0451) 9.00 (7.20, 10.2)
""",
    "amorphous-si": """
CDVAE 0.0402 (0.0396, 0.0412) 0.392 (0.381, 0.408) 0.00332 (0.00312, 0.00353) 0.00 (0.00, 0.00)
DiffCSP 0.0647 (0.0462, 0.0908) 1.39 (1.03, 1.69) 0.0103 (0.00797, 0.0133) 0.00 (0.00, 0.00)
""",
    "alloy-300K-narrow": """
CDVAE 0.0604 (0.0540, 0.0675) 35.8 (32.0, 41.2) 0.13 (0.00, 0.40)
DiffCSP 0.0645 (0.0566, 0.0792) 94.3 (91.8, 96.5) 0.00 (0.00, 0.00)
CryinGAN 0.117 (0.106, 0.126) 100 (100, 100) 0.00 (0.00, 0.00)
""",
    "alloy-300K-wide": """
CDVAE 0.0658 (0.0598, 0.0742) 37.4 (34.0, 43.4) 0.07 (0.00, 0.10)
DiffCSP 0.103 (0.0831, 0.121) 95.8 (95.4, 96.2) 0.00 (0.00, 0.00)
CryinGAN 0.125 (0.119, 0.129) 100 (100, 100) 0.00 (0.00, 0.00)
""",
    "alloy-1500K-narrow": """
CDVAE 0.0621 (0.0589, 0.0665) 54.8 (51.9, 56.8) 0.37 (0.20, 0.50)
DiffCSP 0.0308 (0.0304, 0.0313) 91.7 (91.5, 91.8) 0.00 (0.00, 0.00)
CryinGAN 0.0643 (0.0629, 0.0659) 100 (100, 100) 0.00 (0.00, 0.00)
""",
    "alloy-1500K-wide": """
CDVAE 0.0618 (0.0549, 0.0694) 61.3 (55.9, 68.2) 0.27 (0.20, 0.30)
DiffCSP 0.0338 (0.0332, 0.0342) 92.3 (89.2, 94.4) 0.00 (0.00, 0.00)
CryinGAN 0.0650 (0.0609, 0.0691) 100 (100, 100) 0.00 (0.00, 0.00)
""",
}

#: Tables S1 to S3 of the supplement, as printed.
TABLE_S1 = {
    "lsc-lco": "0.215 [+0.171] (0.0853, 0.297) 0.273 [+0.245] (0.0905, 0.420) 0.317 [+0.222] (0.240, 0.407) 0.192 [+0.155] (0.0671, 0.278) 43.8 [+36.7] (11.9, 79.3)",
    "amorphous-si": "0.863 [+0.798] (0.405, 1.11) 9.70 [+8.31] (8.70, 10.6) 0.0492 [+0.0390] (0.0260, 0.0621) 8.7 [+8.7] (6.0, 12.6)",
    "alloy-300K-narrow": "0.0824 [+0.0179] (0.0621, 0.102) 99.5 [+5.13] (98.4, 100) 0.00 [+0.00] (0.00, 0.00)",
}
RELAXATIONS = {
    "lsc-lco": """
CDVAE 10.3 8.71 3.30 1.46
DiffCSP 68.2 53.9 12.3 9.68
CrysTens 171 74.3 640 137
UniMat 257 116 989 70.0
CryinGAN 147 72.4 234 67.3
""",
    "amorphous-si": """
CDVAE 22.5 16.3 8.64 45.3
DiffCSP 140 39.0 275 21.6
""",
}

NUMBER = r"(\d+(?:\.\d+)?)"
ENTRY = re.compile(rf"{NUMBER} \({NUMBER}, {NUMBER}\)")


def printed(system: str) -> dict[str, list[tuple[float, ...]]]:
    """Return value, minimum and maximum of every column, by model."""
    rows = {}
    for line in TABLES[system].strip().splitlines():
        model, _, rest = line.partition(" ")
        rows[model] = [tuple(map(float, entry)) for entry in ENTRY.findall(rest)]
    return rows


@pytest.mark.parametrize("system", list(TABLES))
def test_rows_are_the_papers(system: str) -> None:
    found = compare_with_published(system, "x", "published")
    expected = printed(system)
    assert [row.model for row in found.rows] == list(expected)
    for row in found.rows:
        assert len(row.metrics) == len(expected[row.model])
        for numbers, (value, low, high) in zip(
            row.metrics.values(), expected[row.model], strict=True
        ):
            assert numbers == {"value": value, "min": low, "max": high}


@pytest.mark.parametrize("system", list(TABLES))
def test_metrics_are_those_of_the_system(system: str) -> None:
    """Column by column in the order of the spec."""
    for row in compare_with_published(system, "x", "published").rows:
        assert tuple(row.metrics) == get_system(system).metrics


def test_source_names_the_table() -> None:
    sources = [compare_with_published(s, "x", "published").source or "" for s in TABLES]
    assert [source.rpartition(", ")[2] for source in sources] == [
        "Table 1",
        "Table 2",
        *["Table 3"] * 4,
    ]
    assert all(source.startswith("Digital Discovery 2024, 3, 1889") for source in sources)


CHANGED = re.compile(rf"{NUMBER} \[\+{NUMBER}\] \({NUMBER}, {NUMBER}\)")


@pytest.mark.parametrize("system", list(TABLES))
def test_lattice_denoising(system: str) -> None:
    """Table S1, which has three of the systems."""
    found = lattice_denoising_row(system)
    if system not in TABLE_S1:
        assert found is None
        return
    assert found is not None
    assert (found.source, found.model) == ("Table S1", "DiffCSP")
    printed = [tuple(map(float, entry)) for entry in CHANGED.findall(TABLE_S1[system])]
    keys = ("value", "change", "min", "max")
    assert [tuple(m[k] for k in keys) for m in found.metrics.values()] == printed
    table = published_table(system)
    assert table is not None
    assert list(found.metrics) == table.metrics
    # The changes are those from the row of DiffCSP, to the digits that are printed.
    before = next(row for row in table.rows if row.model == "DiffCSP").metrics
    for metric, numbers in found.metrics.items():
        change = numbers["value"] - before[metric]["value"]
        assert change == pytest.approx(numbers["change"], rel=0.02, abs=0.1)


@pytest.mark.parametrize("system", list(TABLES))
def test_relaxations(system: str) -> None:
    """Tables S2 and S3; alloys are not relaxed."""
    found = relaxation_table(system)
    if system not in RELAXATIONS:
        assert found is None
        return
    assert found is not None
    sources = {"lsc-lco": ("Table S2", "M3GNet"), "amorphous-si": ("Table S3", "SOAP-GAP")}
    assert (found.source, found.potential) == sources[system]
    rows = [
        [r.model, r.steps_mean, r.steps_std, r.energy_drop_mean, r.energy_drop_std]
        for r in found.rows
    ]
    printed = [line.split() for line in RELAXATIONS[system].strip().splitlines()]
    assert rows == [[model, *map(float, numbers)] for model, *numbers in printed]


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the text of the paper is not here")
def test_typed_rows_stand_in_the_paper() -> None:
    """Digit by digit, against the text of paper and supplement."""
    read = {path.name: " ".join(path.read_text("utf-8").split()) for path in PAPERS.glob("*.txt")}
    text, supplement = read["dismai-bench-paper.txt"], read["dismai-bench-si.txt"]
    rows = [line for table in TABLES.values() for line in table.strip().splitlines()]
    further = [line for table in RELAXATIONS.values() for line in table.strip().splitlines()]
    assert [row for row in rows if row not in text] == []
    assert [row for row in (*TABLE_S1.values(), *further) if row not in supplement] == []


def test_systems_of_the_paper() -> None:
    assert published_systems() == tuple(TABLES)
    assert published_table("my-alloy") is None


@pytest.fixture
def no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of this test has."""
    monkeypatch.setenv("DISMAI_DATA_DIR", str(tmp_path))


@pytest.mark.usefixtures("no_copy")
def test_without_a_copy_nothing_is_comparable() -> None:
    found = compare_with_published("alloy-300K-wide", "0" * 64, "published")
    assert not found.comparable
    assert found.why_not == NO_COPY
    assert found.evidence == {}


@pytest.mark.usefixtures("no_copy")
def test_every_reason_is_told() -> None:
    found = compare_with_published("alloy-300K-wide", "0" * 64, "corrected", marks=["a mark"])
    assert found.why_not == f"{NO_COPY}; the protocol is corrected, not published; a mark"


@pytest.mark.usefixtures("no_copy")
def test_comparable_needs_reference_and_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the hash of a published set is entered."""
    monkeypatch.setitem(published.PUBLISHED_REFERENCES, "alloy-300K-wide", "a" * 64)
    found = compare_with_published("alloy-300K-wide", "a" * 64, "published")
    assert found.comparable
    assert found.why_not is None
    assert not compare_with_published("alloy-300K-wide", "a" * 64, "corrected").comparable
    assert not compare_with_published("alloy-300K-wide", "b" * 64, "published").comparable
    assert not compare_with_published("alloy-300K-narrow", "a" * 64, "published").comparable


def test_a_system_without_a_table() -> None:
    found = compare_with_published("my-alloy", "0" * 64, "published")
    assert (found.comparable, found.rows, found.source) == (False, [], None)
    assert found.why_not == "the paper has no table for this system"
