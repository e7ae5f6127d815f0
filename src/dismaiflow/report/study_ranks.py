"""The models of a study in rank, metric by metric, as a spider chart after Fig. 10 of the paper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dismaiflow.benchmark.ranks import Rank, places_of
from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.spider import spider_plot
from dismaiflow.report.words import NOTHING, metric_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.campaigns.study_schemas import StudyRow

_CAPTION = (
    "Rank of each model by each metric, 1, the smallest value, on the outermost ring; a model "
    "without a value stands last. It compares the models of this study with each other, whether or "
    "not they learned anything: a small distance of structures of which most fail says little. The "
    "ranks of the paper's Fig. 10, over datasets, are those of dismai leaderboard."
)


def study_ranks(page: Page, rows: Sequence[StudyRow]) -> Html:
    """Return a spider chart of the models of a study; nothing for a single one.

    Parameters
    ----------
    page : Page
        Takes figure and heading.
    rows : sequence of StudyRow
        The rows of a study; controls take no rank.
    """
    models = [row for row in rows if not row.is_control]
    if len({row.model for row in models}) < 2:
        return Html("")
    found = ranks_by_metric(models)
    by_model = {
        row.label: [next(r.rank for r in ranks if r.model == row.label) for ranks in found.values()]
        for row in models
    }
    body = [[label, *map(str, places)] for label, places in by_model.items()]
    return join(
        [
            page.heading(3, "Ranks within this study"),
            page.plot(spider_plot(found), "ranks of the models by metric", _CAPTION),
            table(["", *found], body) if found else tag("p", NOTHING),
        ]
    )


def ranks_by_metric(rows: Sequence[StudyRow]) -> dict[str, list[Rank]]:
    """Rank models by each of their metrics, the smallest value first.

    Parameters
    ----------
    rows : sequence of StudyRow
        Models, each with a label of its own.

    Returns
    -------
    dict of str to list of Rank
        By the metric's name for people; equal values share a rank, models without a value the last.
    """
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    found = {}
    for metric in metrics:
        places = places_of([_key(row, metric) for row in rows])
        found[metric_label(metric)] = [
            Rank(row.label, place) for row, place in zip(rows, places, strict=True)
        ]
    return found


def _key(row: StudyRow, metric: str) -> tuple[int, float]:
    value = row.metrics[metric].value if metric in row.metrics else None
    known = value is not None and math.isfinite(value)
    return (0, float(value)) if known and value is not None else (2, math.inf)
