"""Names, versions and alignments of the scoring protocols."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dismaiflow.benchmark.protocol import (
    PROTOCOL_VERSIONS,
    PUBLISHED_ALIGNMENTS,
    ScoringProtocol,
)
from dismaiflow.errors import DismaiError


def test_defaults() -> None:
    """Published with the alignment of CryinGAN's script; corrected has one of its own."""
    assert ScoringProtocol().key == "published-1-fixed"
    assert ScoringProtocol(name="corrected").key == "corrected-1-registered"
    assert PUBLISHED_ALIGNMENTS == ("fixed", "translated", "rotated")


def test_published_never_changes() -> None:
    """A number of this protocol that changes is a bug, not a new version."""
    assert PROTOCOL_VERSIONS == {"published": 1, "corrected": 1}


@pytest.mark.parametrize("alignment", PUBLISHED_ALIGNMENTS)
def test_published_alignments(alignment: str) -> None:
    protocol = ScoringProtocol.model_validate({"alignment": alignment})
    assert (protocol.name, protocol.version, protocol.alignment) == ("published", 1, alignment)


@pytest.mark.parametrize(
    ("name", "alignment"),
    [*(("corrected", a) for a in PUBLISHED_ALIGNMENTS), ("published", "registered")],
)
def test_alignment_of_the_other_protocol(name: str, alignment: str) -> None:
    with pytest.raises(DismaiError, match="--alignment belongs to the published protocol"):
        ScoringProtocol.model_validate({"name": name, "alignment": alignment})


@pytest.mark.parametrize("name", ["published", "corrected"])
def test_another_version_is_refused(name: str) -> None:
    assert ScoringProtocol.model_validate({"name": name, "version": 1}).version == 1
    with pytest.raises(DismaiError, match=rf"protocol {name} version 2 .* \(1\): install"):
        ScoringProtocol.model_validate({"name": name, "version": 2})


@pytest.mark.parametrize("change", [{"name": "exact"}, {"alignment": "best"}])
def test_unknown_words(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ScoringProtocol.model_validate(change)


def test_documents_give_it_back() -> None:
    for protocol in (ScoringProtocol(alignment="rotated"), ScoringProtocol(name="corrected")):
        again = ScoringProtocol.model_validate_json(protocol.model_dump_json())
        assert again == protocol
        assert hash(again) == hash(protocol)


def test_it_cannot_be_altered() -> None:
    with pytest.raises(ValidationError):
        ScoringProtocol().name = "corrected"  # type: ignore[misc]
