"""The ranks of a new model among the published ones, where they are comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.markup import Html, Page, table, tag
from dismaiflow.report.spider import spider_caption, spider_plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.benchmark.schemas import ScoreDoc


def ranks_section(page: Page, scores: Sequence[ScoreDoc]) -> Html:
    """Return a spider chart of ranks; nothing without a score that stands in rank.

    Parameters
    ----------
    page : Page
        Takes figure and heading.
    scores : sequence of ScoreDoc
        Scores of any systems.
    """
    comparable = [score for score in scores if score.published.comparable]
    if not comparable:
        return Html("")
    from dismaiflow.benchmark.published import published_systems
    from dismaiflow.benchmark.ranks import ranks

    new: dict[str, dict[str, dict[str, float | None]]] = {}
    for score in comparable:
        values = {name: metric.value for name, metric in score.metrics.items()}
        new.setdefault(score.system, {})[score.provenance.model] = values
    found = {system: ranks(system, new.get(system)) for system in published_systems()}
    rows = [[system, *(f"{rank.rank}. {rank.model}" for rank in found[system])] for system in new]
    return tag(
        "section",
        page.heading(2, "Ranks (derived)"),
        page.plot(spider_plot(found), "ranks of the models by dataset", spider_caption(found)),
        table([], rows),
        class_="block",
    )
