"""Studies to draw: a scan of a setting on an interface, models by name on an alloy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.report.documents import HASH, SYSTEM, control_scores, make_score

from dismaiflow.benchmark.findings import Findings, Histogram, InterfaceEnergies
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.benchmark.schemas import Metric, ScoreDoc
from dismaiflow.campaigns.study_schemas import SampleCheck, SeedRun, StudyDoc, StudyRow
from dismaiflow.models.registry import ModelChoice
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.report.study_section import StudyParts
from dismaiflow.report.training_curves import curves_of_logs

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = (0, 0.01, 0.05, 0.1)
SEEDS = [11, 2**60 + 1, 13]
CONTROLS = {"train-resample": 0.0081, "random-relaxed": 0.31, "uniform-random": 0.52}


def make_run(seed: int, close: float = 4.0, device: str = "one GPU") -> SeedRun:
    """Return a trained instance of which two structures cannot be scored."""
    return SeedRun(
        seed=seed,
        step=250_000,
        epoch=2500,
        seconds=7300.0,
        n_launches=2,
        device=device,
        losses={"critic": -1.25, "generator": 0.5},
        check=SampleCheck(
            n_asked=100,
            n_readable=99,
            reasons={"unreadable": 1, "wrong_count": 1},
            close_pairs=close,
            percent_with_close_pairs=50.0,
            close_distance=1.5,
        ),
    )


def interface_score(place: int) -> ScoreDoc:
    """Return the score of one weight, with energies in bins of its own."""
    width = 0.05 * (1 + 0.2 * place)
    edges = [round(-0.5 + width * i, 6) for i in range(21)]
    shares = [math.exp(-((edge + 0.3 - 0.1 * place) ** 2) / 0.02) for edge in edges[:-1]]
    histogram = Histogram(
        unit="J/m²",
        edges=edges,
        generated=[share / sum(shares) for share in shares],
        reference=[0.0, *[0.1] * 10, *[0.0] * 9],
    )
    energies = InterfaceEnergies(
        reference_energy=-4.78,
        rule="the lowest relaxed reference structure stands at -0.4 J/m²",
        potential_hash="ab" * 32,
        area=207.8,
        mean=-0.3 + 0.1 * place,
        std=0.05,
        percent_low=95.0 - 20 * place,
        histogram=histogram,
    )
    return make_score(
        system="lsc-lco",
        metrics={"d_all": distance(place), "percent_failed": Metric(value=2.0)},
        controls={name: {"d_all": d, "percent_failed": 0.0} for name, d in CONTROLS.items()},
        floor={"d_all": CONTROLS["train-resample"]},
        histograms={},
        findings=Findings(interface_energies=energies),
        published=compare_with_published("lsc-lco", HASH, "published"),
    )


def distance(place: int) -> Metric:
    """Return a distance with the minimum and maximum of three instances."""
    mean = (0.4, 0.2, 0.04, 0.05)[place]
    return Metric(value=mean, min=0.8 * mean, max=1.3 * mean)


def make_row(label: str, score: ScoreDoc, runs: Sequence[SeedRun], **changes: object) -> StudyRow:
    """Return a row that is not shown to learn unless a change says so."""
    found = [run.check.close_pairs for run in runs if run.check is not None]
    closes = [value for value in found if value is not None]
    row = StudyRow(
        label=label,
        model="cryingan",
        settings={},
        runs=list(runs),
        metrics=score.metrics,
        n_generated=300,
        n_scored=294,
        close_pairs=sum(closes) / len(closes) if closes else None,
        learning={"shown": False, "text": "not shown to learn: does not beat uniform-random"},
        seconds=sum(run.seconds for run in runs),
    )
    return row.model_copy(update=changes)


def make_study(rows: Sequence[StudyRow], system: str = SYSTEM) -> StudyDoc:
    """Return a study of these rows."""
    return StudyDoc(
        system=system,
        system_kind="alloy" if system == SYSTEM else "interface",
        protocol="published-1-fixed",
        dataset_hash=HASH,
        n=100,
        seeds=SEEDS,
        rows=list(rows),
    )


def scan_parts() -> StudyParts:
    """Return a scan of a weight of the loss on an interface; one instance is lost."""
    scores, rows, logs = {}, [], {}
    for place, weight in enumerate(WEIGHTS):
        label = f"bond_loss_weight={weight}"
        scores[label] = interface_score(place)
        runs = [make_run(seed, 40.0 * 0.3**place + i) for i, seed in enumerate(SEEDS)]
        if place == 1:
            runs[2] = SeedRun(seed=SEEDS[2], lost="the training failed")
        energies = scores[label].findings.interface_energies
        assert energies is not None
        changes: dict[str, object] = {
            "settings": {"bond_loss_weight": weight},
            "interface_energy": energies.mean,
            "percent_low": energies.percent_low,
            "percent_unconverged": 1.5 * place,
        }
        if place > 1:
            changes["learning"] = {"shown": True, "text": "shown to learn: beats uniform-random"}
        rows.append(make_row(label, scores[label], runs, **changes))
        logs |= {f"{label} {i}": log_rows(place + i) for i in range(3) if not runs[i].lost}
    return StudyParts(make_study(rows, "lsc-lco"), scores, curves_of_logs(logs))


def named_parts() -> StudyParts:
    """Return models by name on an alloy, comparable with the paper; one is a control."""
    published = compare_with_published(SYSTEM, HASH, "published")
    shown = published.model_copy(update={"comparable": True, "why_not": None})
    score = make_score(published=shown, controls=control_scores())
    rows = [
        make_row("cryingan", score, [make_run(seed, 0.0) for seed in SEEDS]),
        make_row("comb", score, [], metrics={}, learning={}, n_scored=0),
        make_row("random-occupancy", score, [SeedRun(seed=11)], is_control=True),
    ]
    return StudyParts(make_study(rows), {"cryingan": score, "random-occupancy": score})


def log_rows(shift: int, n: int = 900) -> list[dict[str, str]]:
    """Return the log of a training: a critic of both signs, and a loss that falls by decades."""
    return [
        {
            "row": "epoch",
            "step": str(100 * epoch),
            "epoch": str(epoch),
            "seconds": f"{epoch:.1f}",
            "train_critic": f"{5000 * math.exp(-epoch / 8) - 2 - shift + math.sin(epoch):.6g}",
            "val_critic": f"{-1.5 - shift + math.sin(epoch):.6g}" if epoch % 5 == 0 else "",
            "train_bond": f"{2.0 ** (-epoch / 90) + 0.001 * (shift + 1):.6g}",
        }
        for epoch in range(1, n + 1)
    ]


def make_trained(seed: int, settings: dict[str, object], **changes: object) -> TrainedModelDoc:
    """Return a trained model without files."""
    document = TrainedModelDoc(
        system=SYSTEM,
        model="cryingan",
        choice=ModelChoice(name="cryingan", settings=settings),
        card={"name": "cryingan"},
        seed=seed,
        training_hash=HASH,
        files={},
    )
    return document.model_copy(update=changes)
