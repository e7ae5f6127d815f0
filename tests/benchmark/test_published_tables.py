"""The published tables, typed once more from the paper, and when a score stands beside them."""

# ruff: noqa: E501 (the rows as they are printed)
from __future__ import annotations

import re

import pytest

from dismaiflow.benchmark import published
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.systems import get_system

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


def test_another_reference_is_not_comparable() -> None:
    found = compare_with_published("alloy-300K-wide", "0" * 64, "published")
    assert not found.comparable
    assert found.why_not == "this version does not know the published set"


def test_every_reason_is_told() -> None:
    found = compare_with_published("alloy-300K-wide", "0" * 64, "corrected")
    assert found.why_not == (
        "this version does not know the published set; the protocol is corrected, not published"
    )


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
