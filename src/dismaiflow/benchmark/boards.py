"""The rows of the leaderboard, by system and protocol, in rank where they are comparable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dismaiflow.benchmark.leaderboard import PUBLISHED
from dismaiflow.benchmark.published import MODELS, lattice_denoising_row, published_systems
from dismaiflow.benchmark.ranks import order_key, places_of
from dismaiflow.errors import DismaiError, suggestion
from dismaiflow.store.filters import is_of_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dismaiflow.benchmark.leaderboard import LeaderboardRow
    from dismaiflow.benchmark.published import LatticeDenoisingRow


@dataclass(frozen=True)
class Board:
    """What stands on the leaderboard for a system and a protocol.

    Parameters
    ----------
    system : str
        Name of the system.
    protocol : str
        The whole key; the name alone where nothing but the paper's rows is there.
    metrics : list of str
        The paper's metrics, in its order.
    ranked : list of (int, LeaderboardRow)
        Rank and row of the published models and of own ones that are comparable, the best first.
    apart : list of LeaderboardRow
        Own rows that are not comparable, those of one reason together.
    controls : list of LeaderboardRow
        Controls, which take no rank.
    published : list of LeaderboardRow
        Published rows that cannot be ranked beside this protocol.
    note : LatticeDenoisingRow or None
        The row of Table S1.
    """

    system: str
    protocol: str
    metrics: list[str]
    ranked: list[tuple[int, LeaderboardRow]] = field(default_factory=list)
    apart: list[LeaderboardRow] = field(default_factory=list)
    controls: list[LeaderboardRow] = field(default_factory=list)
    published: list[LeaderboardRow] = field(default_factory=list)
    note: LatticeDenoisingRow | None = None

    @property
    def own(self) -> list[LeaderboardRow]:
        """The rows of the user's models."""
        return [row for _, row in self.ranked if row.kind == "own"] + self.apart

    @property
    def source(self) -> str | None:
        """Where the published rows are from."""
        rows = [row for _, row in self.ranked] + self.published
        return next((row.source for row in rows if row.source), None)


def boards(
    rows: Iterable[LeaderboardRow], system: str | None = None, protocol: str | None = None
) -> list[Board]:
    """Sort the rows of the leaderboard into boards.

    Parameters
    ----------
    rows : iterable of LeaderboardRow
        All rows.
    system : str, optional
        Only of this system.
    protocol : str, optional
        Only of this protocol: its name, or its whole key.

    Returns
    -------
    list of Board
        The six systems of the paper first, in its order, then others by name.

    Raises
    ------
    DismaiError
        If nothing is known of the system.
    """
    by_system: dict[str, list[LeaderboardRow]] = {name: [] for name in published_systems()}
    for row in sorted(rows, key=lambda row: row.system):
        by_system.setdefault(row.system, []).append(row)
    if system is not None and system not in by_system:
        raise DismaiError(
            f"no published table and no score of a system: {suggestion(system, list(by_system))}"
        )
    chosen = list(by_system) if system is None else [system]
    return [board for name in chosen for board in _boards_of(name, by_system[name], protocol)]


def _boards_of(system: str, rows: Sequence[LeaderboardRow], protocol: str | None) -> list[Board]:
    # in the order of the paper, which equal ranks keep
    published = sorted(
        (row for row in rows if row.kind == "published"), key=lambda row: MODELS.index(row.model)
    )
    others = [
        row
        for row in rows
        if row.kind != "published" and (protocol is None or is_of_protocol(row.protocol, protocol))
    ]
    # the published protocol, which is the paper's, first
    keys = sorted({row.protocol for row in others}, key=lambda key: (not _is_published(key), key))
    if not keys and published:
        keys = [protocol or PUBLISHED]
    return [
        _board(system, key, published, [row for row in others if row.protocol == key])
        for key in keys
    ]


def _board(
    system: str, key: str, published: list[LeaderboardRow], others: list[LeaderboardRow]
) -> Board:
    rows = [*published, *others]
    named = dict.fromkeys(name for row in rows for name in row.metrics)
    metrics = list(next((row.metrics for row in published if row.metrics), named))
    distances = [name for name in metrics if name.startswith("d_")]
    own = [row for row in others if row.kind == "own"]
    is_ranked = _is_published(key) and bool(published)
    in_rank = [*published, *(row for row in own if row.comparable)] if is_ranked else []
    places = places_of([order_key(row.values(), distances) for row in in_rank])

    def order(row: LeaderboardRow) -> tuple[tuple[int, float], str]:
        return order_key(row.values(), distances), row.model

    return Board(
        system,
        key,
        metrics,
        ranked=sorted(zip(places, in_rank, strict=True), key=lambda place: place[0]),
        apart=sorted(
            (row for row in own if row not in in_rank),
            key=lambda row: (row.why_not or "", order(row)),
        ),
        controls=sorted((row for row in others if row.kind == "control"), key=order),
        published=[] if is_ranked else sorted(published, key=order),
        note=lattice_denoising_row(system),
    )


def _is_published(key: str) -> bool:
    return is_of_protocol(key, PUBLISHED)
