"""The part of a report that is about one dataset and its controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.markup import Html, Page, code, details, join, table, tag
from dismaiflow.report.plots import autocorrelation_plot, controls_plot, order_plot
from dismaiflow.report.remarks import controls_remarks
from dismaiflow.report.rows import (
    control_metrics,
    control_rows,
    controls_comparison,
    distance_metrics,
    published_heading,
    published_rows,
)
from dismaiflow.report.score_section import card, remark_list, value_row
from dismaiflow.report.tables import card_warnings
from dismaiflow.report.words import (
    METRIC_MEANINGS,
    NOTHING,
    measure,
    measure_text,
    metric_label,
    number,
    order_title,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.structures.dataset import DatasetCard
