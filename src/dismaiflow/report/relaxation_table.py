"""Steps and energies of relaxations, beside those of Tables S2 and S3 of the paper's SI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.markup import Html, join, table, tag
from dismaiflow.report.words import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dismaiflow.benchmark.findings import RelaxationSummary


def relaxation_rows(
    summaries: Iterable[tuple[str, RelaxationSummary | None]], system: str, potential: str
) -> Html:
    """Return a table of how structures relaxed.

    Parameters
    ----------
    summaries : iterable of (str, RelaxationSummary or None)
        Names, and how their structures relaxed; those that were not relaxed are left out.
    system : str
        Beside its published rows, if it has any.
    potential : str
        Name of what relaxed them.
    """
    # Its module reads structures; only pages with relaxations pay for that.
    from dismaiflow.benchmark.published import relaxation_table

    rows: list[Sequence[object]] = [
        [tag("b", name), *_summary_cells(summary)]
        for name, summary in summaries
        if summary is not None
    ]
    note = "Mean ± standard deviation over the structures that converged."
    if rows:
        note += f" Relaxed with {potential}."
    paper = relaxation_table(system)
    for row in paper.rows if paper else ():
        steps = f"{number(row.steps_mean)} ± {number(row.steps_std)}"
        drop = f"{number(row.energy_drop_mean)} ± {number(row.energy_drop_std)}"
        rows.append([f"{row.model} (paper)", "", steps, drop])
    if paper:
        note += f" The paper's: {paper.source}, with {paper.potential}."
    head = ["", "ended as", "steps", "energy released, meV/atom"]
    return join([table(head, rows), tag("p", note, class_="hint")])


def _summary_cells(summary: RelaxationSummary) -> list[object]:
    ends = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in summary.by_status.items())
    return [
        ends,
        f"{number(summary.steps_mean)} ± {number(summary.steps_std)}",
        f"{number(summary.drop_mean)} ± {number(summary.drop_std)}",
    ]
