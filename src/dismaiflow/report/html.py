"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from dismaiflow.report.dataset_section import controls_section, dataset_section
from dismaiflow.report.facts import dataset_size
from dismaiflow.report.markup import Html, Page, escape, inline_json, join, table, tag
from dismaiflow.report.ranks_section import ranks_section
from dismaiflow.report.rows import (
    by_value,
    controls_comparison,
    primary_metric,
    published_rows,
    score_row,
)
from dismaiflow.report.score_section import score_section
from dismaiflow.report.words import (
    FLOOR_CONTROL,
    NOTHING,
    RANDOM_CONTROL,
    metric_label,
    metric_text,
)
from dismaiflow.structures.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dismaiflow.benchmark.region_schemas import RegionEvaluationDoc
    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
    from dismaiflow.report.study_section import StudyParts
    from dismaiflow.structures.dataset import DatasetCard

_Controls = dict[str, "ControlsDoc"]


def write_report(
    path: Path,
    scores: Sequence[ScoreDoc] = (),
    datasets: Sequence[DatasetCard] = (),
    controls: Mapping[str, Mapping[str, ControlsDoc]] | None = None,
    title: str = "dismaiflow report",
    studies: Sequence[StudyParts] = (),
    regions: Sequence[RegionEvaluationDoc] = (),
) -> Path:
    """Write a report of studies, scores, datasets and controls.

    Parameters
    ----------
    path : Path
        The file to write; an older one is replaced as a whole.
    scores : sequence of ScoreDoc
        Scores.
    datasets : sequence of DatasetCard
        Datasets.
    controls : dict of str to dict of str to ControlsDoc, optional
        Scores of controls, by system and protocol key. A dataset without any here is shown with
        those on its card.
    title : str
        Title of the page.
    studies : sequence of StudyParts
        Studies, which stand first.
    regions : sequence of RegionEvaluationDoc
        Evaluations of interface regions, which stand last.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DismaiError
        If it cannot be written.
    """
    write_text(path, report_text(scores, datasets, controls, title, studies, regions))
    return path


def report_text(
    scores: Sequence[ScoreDoc] = (),
    datasets: Sequence[DatasetCard] = (),
    controls: Mapping[str, Mapping[str, ControlsDoc]] | None = None,
    title: str = "dismaiflow report",
    studies: Sequence[StudyParts] = (),
    regions: Sequence[RegionEvaluationDoc] = (),
) -> str:
    """Return what `write_report` writes, from the same parameters."""
    page = Page()
    given = dict(controls or {})
    beside = [dict(given.get(card.system) or _controls_of(card)) for card in datasets]
    first = _studies(page, studies)
    body = [score_section(page, score) for score in scores]
    body += [
        dataset_section(page, card, scored) for card, scored in zip(datasets, beside, strict=True)
    ]
    body.append(ranks_section(page, scores))
    alone = {s: c for s, c in given.items() if s not in {card.system for card in datasets}}
    body += [controls_section(page, system, scored) for system, scored in alone.items()]
    body += _regions(page, regions)
    if not any([*first, *body]):
        body = [tag("p", "There is nothing to report.", class_="lead")]
    # Headings of the sections, which stand in the order of scores and datasets.
    links = [f"#{name}" for name, _, level in page.contents if level == 2][len(studies) :]
    overview = [
        _scores_overview(scores, links),
        _datasets_overview(datasets, beside, links[len(scores) :]),
    ]
    return page_text(page, join([*first, *overview, *body]), title)


def page_text(page: Page, body: Html, title: str) -> str:
    """Return a page that needs nothing else.

    Parameters
    ----------
    page : Page
        Figures and headings of the body.
    body : Html
        What stands on it.
    title : str
        Its title.
    """
    from plotly.offline import get_plotlyjs

    folder = files("dismaiflow.report").joinpath("templates")
    read = {name: folder.joinpath(name).read_text("utf-8") for name in _TEMPLATES}
    return Template(read["page.html"]).substitute(
        title=escape(title),
        style=read["report.css"],
        contents=_contents(page),
        body=body,
        plots=inline_json(page.plots),
        structures=inline_json(page.structures),
        plotly=get_plotlyjs() if page.plots else "",
        script=read["report.js"] + read["viewer.js"],
    )


_TEMPLATES = ("page.html", "report.css", "report.js", "viewer.js")


def _studies(page: Page, studies: Sequence[StudyParts]) -> list[Html]:
    if not studies:
        return []
    # Its rule comes from modules that read structures; only pages with studies pay for that.
    from dismaiflow.report.study_section import study_section

    return [study_section(page, parts) for parts in studies]


def _regions(page: Page, regions: Sequence[RegionEvaluationDoc]) -> list[Html]:
    if not regions:
        return []
    from dismaiflow.report.region_section import region_section

    return [region_section(page, document) for document in regions]


def _controls_of(card: DatasetCard) -> _Controls:
    """Return the controls on a card, without those of another version that cannot be read."""
    from pydantic import ValidationError

    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.errors import DismaiError

    found = {}
    for key, entry in card.controls.items():
        try:
            found[key] = ControlsDoc.model_validate(entry)
        except (ValidationError, DismaiError):
            continue
    return found


def _contents(page: Page) -> Html:
    """Return the contents: sections, and their parts below them."""
    items: list[Html] = []
    below: list[Html] = []
    for name, text, level in reversed(page.contents):
        link = tag("a", text, href=f"#{name}")
        if level > 2:
            below.insert(0, tag("li", link))
            continue
        items.insert(0, tag("li", link, tag("ul", *below) if below else None))
        below = []
    return tag("ul", *items)


def _scores_overview(scores: Sequence[ScoreDoc], links: Sequence[str]) -> Html:
    """Return a table of several scores; nothing for a single one."""
    if len(scores) < 2:
        return Html("")
    rows = []
    for score, link in zip(scores, links, strict=False):
        own = score_row(score)
        metric = primary_metric(score.metrics)
        rows.append(
            [
                tag("a", score.provenance.model, href=link),
                score.system,
                score.protocol.key,
                f"{metric_label(metric)} {own.get(metric).text(metric)}" if metric else NOTHING,
                metric_text(metric, score.floor.get(metric)) if metric else NOTHING,
                metric_text("percent_failed", own.get("percent_failed").value),
            ]
        )
    head = ["model", "system", "protocol", "score", "floor", "% failed"]
    return tag("section", tag("h2", "Scores"), table(head, rows), class_="block overview")


def _datasets_overview(
    datasets: Sequence[DatasetCard], controls: Sequence[_Controls], links: Sequence[str]
) -> Html:
    """Return a table of several datasets; nothing for a single one."""
    if len(datasets) < 2:
        return Html("")
    rows = []
    for card, scored, link in zip(datasets, controls, links, strict=False):
        sampling = card.statistics.get("sampling") or {}
        selection = card.statistics.get("selection") or {}
        independent = selection.get("n_independent")
        rows.append(
            [
                tag("a", card.system, href=link),
                f"{dataset_size(card):,}",
                NOTHING if independent is None else f"{independent:,}",
                sampling.get("agreement") or NOTHING,
                *_landmarks(scored),
                str(len(card.warnings)),
            ]
        )
    head = [
        "dataset",
        "structures",
        "independent",
        "runs",
        "floor",
        "random occupancy",
        "best published",
        "warnings",
    ]
    first = next((next(iter(scored.values())) for scored in controls if scored), None)
    note = ""
    if first is not None:
        metric = primary_metric(_distances(first)) or ""
        note = (
            f"Floor, random occupancy and best published model: {metric} by {first.protocol.key}."
        )
    parts = [tag("h2", "Datasets"), table(head, rows), tag("p", note, class_="hint")]
    return tag("section", *parts, class_="block overview")


def _distances(document: ControlsDoc) -> list[str]:
    names = {name for values in document.scores.values() for name in values}
    return sorted(name for name in names if name.startswith("d_"))


def _landmarks(scored: _Controls) -> list[str]:
    """Return floor, random occupancy and the best published model by the first protocol."""
    if not scored:
        return [NOTHING] * 3
    document = next(iter(scored.values()))
    metric = primary_metric(_distances(document))
    if metric is None:
        return [NOTHING] * 3
    values = [document.scores.get(n, {}).get(metric) for n in (FLOOR_CONTROL, RANDOM_CONTROL)]
    best = by_value(published_rows(controls_comparison(document)), metric)[:1]
    texts = [f"{metric_text(metric, row.get(metric).value)} ({row.name})" for row in best]
    return [*(metric_text(metric, value) for value in values), texts[0] if texts else NOTHING]
