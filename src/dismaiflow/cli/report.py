"""``dismai report``: draw the report of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import out
from dismaiflow.errors import DismaiError, first_problem

if TYPE_CHECKING:
    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.structures.dataset import DatasetCard


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder that holds scores or datasets.")
    ],
) -> None:
    """Write report.html of everything in a folder: its studies, scores and datasets."""
    from dismaiflow.benchmark.question import card_controls
    from dismaiflow.report.html import write_report
    from dismaiflow.report.study_folder import STUDY_NAME, read_study

    if not run.is_dir():
        raise DismaiError(f"{run}: is no folder; name one with score.json or datasets in it")
    scores = [_read_score(path) for path in sorted(run.rglob("score.json"))]
    cards = read_cards(run)
    studies = [read_study(path) for path in sorted(run.rglob(STUDY_NAME))]
    if not scores and not cards and not studies:
        raise DismaiError(f"{run}: holds neither score.json nor dataset.json")
    path = run / "report.html"
    controls = {card.system: card_controls(card) for card in cards if card.controls}
    write_report(
        path,
        scores=scores,
        datasets=cards,
        controls=controls,
        studies=studies,
        title=run.resolve().name,
    )
    out.print(f"wrote {path}", soft_wrap=True)


def read_cards(folder: Path) -> list[DatasetCard]:
    """Read the cards of all datasets below a folder."""
    from dismaiflow.structures.dataset import CARD_NAME, open_dataset

    return [open_dataset(path.parent).card for path in sorted(folder.rglob(CARD_NAME))]


def _read_score(path: Path) -> ScoreDoc:
    from pydantic import ValidationError

    from dismaiflow.benchmark.schemas import ScoreDoc

    try:
        return ScoreDoc.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DismaiError(f"{path}: not a score ({first_problem(error)}); score again") from error
