"""Rows of a study: what their verdicts stand on."""

from __future__ import annotations

import pytest
from tests.report.documents import make_score

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import Metric, ScoreDoc
from dismaiflow.campaigns.study_schemas import StudyRow, Variant, blind_controls
from dismaiflow.models.registry import ModelChoice

SILICON = ScoringProtocol(alignment="none")


def variant(model: str) -> Variant:
    return Variant(label=model, choice=ModelChoice(name=model))


def relaxed_score(d_rdf: float, protocol: ScoringProtocol = SILICON) -> ScoreDoc:
    """Return a score of relaxed structures, beside which only noise on copies was scored."""
    metrics = {"d_rdf": Metric(value=d_rdf), "percent_failed": Metric(value=0.0)}
    controls = {"rattled": {"d_rdf": 0.5, "percent_failed": 0.0}}
    return make_score(system="amorphous-si", protocol=protocol, metrics=metrics, controls=controls)


@pytest.mark.parametrize(
    ("model", "control", "said"),
    [
        (2.0, 3.0, "shown to learn: beats uniform-random; of the knowing controls it does not"),
        (2.0, 1.9, "not shown to learn: does not beat uniform-random; of the knowing controls"),
    ],
)
def test_a_control_among_the_models(model: float, control: float, said: str) -> None:
    """What has seen no positions decides, although it is no control of the score itself."""
    scores = [relaxed_score(control), relaxed_score(model)]
    blind = blind_controls([variant("uniform-random"), variant("cdvae")], scores)
    assert blind == {SILICON.key: {"uniform-random": {"d_rdf": control, "percent_failed": 0.0}}}
    row = StudyRow.from_parts(variant("cdvae"), [], [], [], [], scores[1], "amorphous", blind)
    assert row.learning["shown"] is (model < control)
    assert row.learning["text"].startswith(said)


def test_a_control_by_another_protocol_or_lost() -> None:
    """It decides nothing, and the verdict says what would."""
    other = ScoringProtocol(name="corrected", alignment="none")
    models = [variant("uniform-random"), variant("random-generation"), variant("cdvae")]
    scores = [relaxed_score(3.0, other), None, relaxed_score(2.0)]
    row = StudyRow.from_parts(
        models[2], [], [], [], [], scores[2], "amorphous", blind_controls(models, scores)
    )
    assert row.learning["text"].startswith(
        "not shown to learn: no control that has seen no positions was scored beside it "
        "(uniform-random among the models of a study is one)"
    )
