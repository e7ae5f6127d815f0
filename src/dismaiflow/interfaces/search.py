"""How long a search for low-energy interfaces goes on: rounds, budget, reference energy.

A search goes in rounds. What a round tries is decided when the one before is known as a whole, by
the structures themselves and never by who relaxed them or when, so that one seed gives one dataset
however many workers there are.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.rating import HIGH, LOW, Rater, Rating

if TYPE_CHECKING:
    from collections.abc import Collection

    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.interfaces.sampling import SamplingKind

#: ``random`` is the paper's; the others learn from the rounds before.
SearchMethod = Literal["random", "mutation", "surrogate"]

#: Structures tried for each one wanted, at most, unless a budget is given.
_TRIES_PER_STRUCTURE = 20

#: Structures of the pilot set, at most, unless their number is given.
_PILOT = 100

#: A round is at most so many times what was tried before: an early yield may mislead.
_GROWTH = 4


@dataclass(frozen=True)
class SearchSettings:
    """What a search is asked for.

    Parameters
    ----------
    n_structures : int
        Structures of low energy that are wanted.
    seed : int
        Seed of all randomness.
    n_pilot : int
        Structures of the first round, which fix the reference energy. A search that learns tries
        no more in any other round either.
    max_structures : int
        Budget: structures that are tried.
    max_force_calls : int, optional
        Budget: evaluations of the potential. A round that is under way is finished.
    method : {"random", "mutation", "surrogate"}
        How structures are proposed.
    sampling : {"random", "stratified", "quasi-random"}
        How thickness and displacement of random structures are drawn.
    drop_duplicates : bool
        Whether a structure that is the same as an earlier one is left out.
    n_high : int
        Structures of high energy that are wanted too; by default as many as there happen to be.
    """

    n_structures: int
    seed: int = 0
    n_pilot: int = _PILOT
    max_structures: int = 1000
    max_force_calls: int | None = None
    method: SearchMethod = "random"
    sampling: SamplingKind = "random"
    drop_duplicates: bool = True
    n_high: int = 0

    def __post_init__(self) -> None:
        if self.n_structures < 2:
            raise DismaiError("a dataset needs two structures at least, one of them to validate")
        if self.method not in get_args(SearchMethod):
            known = ", ".join(get_args(SearchMethod))
            raise DismaiError(f"unknown search {self.method!r}: choose one of {known}")
        if self.max_structures < self.n_structures:
            raise DismaiError(
                f"a budget of {self.max_structures} structures cannot give {self.n_structures} of "
                "low energy: raise it, or ask for fewer"
            )
        if self.n_pilot < 1:
            raise DismaiError(f"a pilot set needs one structure at least, got {self.n_pilot}")
        if self.max_force_calls is not None and self.max_force_calls < 1:
            raise DismaiError(
                f"a budget of {self.max_force_calls} force calls lets nothing be relaxed"
            )

    @classmethod
    def for_count(
        cls,
        n_structures: int,
        n_pilot: int | None = None,
        max_structures: int | None = None,
        **others: Any,
    ) -> SearchSettings:
        """Fill in pilot set and budget by the number of structures that are wanted."""
        budget = _TRIES_PER_STRUCTURE * n_structures if max_structures is None else max_structures
        pilot = min(_PILOT, n_structures) if n_pilot is None else n_pilot
        return cls(n_structures, n_pilot=pilot, max_structures=budget, **others)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, for jobs and cards."""
        return asdict(self)


@dataclass(frozen=True)
class ReferenceEnergy:
    """The energy that counts as 0 J/m^2, and when it was set to that.

    Parameters
    ----------
    value : float
        eV/atom.
    after : int
        Structures that had been tried.
    fixed : bool
        Whether it belongs to the potential and is not set by the lowest structure.
    """

    value: float
    after: int
    fixed: bool = False


@dataclass(frozen=True, eq=False)
class Decision:
    """What a search does after a round.

    Parameters
    ----------
    rating : Rating
        The verdict on every structure so far.
    history : tuple of ReferenceEnergy
        Reference energies so far; the last one holds.
    n_next : int
        Structures of the next round; 0 at the end.
    stopped_by : str
        Why it is the end; empty while it is not.
    """

    rating: Rating
    history: tuple[ReferenceEnergy, ...]
    n_next: int
    stopped_by: str = ""


def decide(
    ledger: SearchLedger,
    rater: Rater,
    settings: SearchSettings,
    history: tuple[ReferenceEnergy, ...] = (),
    duplicates: Collection[int] = (),
) -> Decision:
    """Rate what was tried and decide what comes next.

    The reference energy is set by the pilot set, and again when the search would end, if a lower
    structure has been found since; what then lies above the cut is replaced by going on. It is set
    anew at once where the structure that had set it turns out to lie in a hole of the potential.

    Parameters
    ----------
    ledger : SearchLedger
        All structures of the rounds so far.
    rater : Rater
        Rates them.
    settings : SearchSettings
        What is asked for.
    history : tuple of ReferenceEnergy
        Reference energies so far.
    duplicates : collection of int
        Indices of structures that do not count, because they are the same as others.
    """
    tried = len(ledger)
    if not history or _fell_out(ledger, rater, history):
        history = _moved(ledger, rater, history)
    rating = _rated(ledger, rater, history, duplicates)
    ended = _end(ledger, settings, rating)
    if ended and not (history and history[-1].fixed):
        now = _moved(ledger, rater, history)
        if now != history:
            history = now
            rating = _rated(ledger, rater, history, duplicates)
            ended = _end(ledger, settings, rating)
    if ended:
        return Decision(rating, history, 0, ended)
    if tried and not history:
        ended = "the pilot set, of which not one structure was fit to be rated,"
        return Decision(rating, history, 0, ended)
    return Decision(rating, history, _next(ledger, settings, rating))


def _rated(
    ledger: SearchLedger,
    rater: Rater,
    history: tuple[ReferenceEnergy, ...],
    duplicates: Collection[int],
) -> Rating:
    return rater.rate(ledger, history[-1].value if history else None, duplicates)


def _fell_out(ledger: SearchLedger, rater: Rater, history: tuple[ReferenceEnergy, ...]) -> bool:
    """Say whether the lowest structure has gone, so that the reference energy is too low."""
    value = rater.reference_energy(ledger)
    now = history[-1]
    return value is not None and not now.fixed and value > now.value + abs(now.value) * 1e-12


def _moved(
    ledger: SearchLedger, rater: Rater, history: tuple[ReferenceEnergy, ...]
) -> tuple[ReferenceEnergy, ...]:
    """Add the reference energy that the lowest structure sets, if it is another one."""
    value = rater.reference_energy(ledger)
    if value is None or (history and math.isclose(value, history[-1].value, rel_tol=1e-12)):
        return history
    return (*history, ReferenceEnergy(value, len(ledger)))


def _missing(settings: SearchSettings, rating: Rating) -> list[tuple[int, int]]:
    """Return what there is and what is missing, of low and of high energy."""
    wanted = ((LOW, settings.n_structures), (HIGH, settings.n_high))
    found = [(len(rating.rows(verdict)), n) for verdict, n in wanted]
    return [(there, max(n - there, 0)) for there, n in found]


def _end(ledger: SearchLedger, settings: SearchSettings, rating: Rating) -> str:
    """Say why a search ends here; nothing if it does not."""
    if not any(missing for _, missing in _missing(settings, rating)):
        return "the number of structures"
    if len(ledger) >= settings.max_structures:
        return f"the budget of {settings.max_structures} structures"
    calls = settings.max_force_calls
    if calls is not None and ledger.n_force_calls >= calls:
        return f"the budget of {calls} force calls"
    return ""


def _next(ledger: SearchLedger, settings: SearchSettings, rating: Rating) -> int:
    """Return the size of the next round: what is missing by the yield so far, and its scatter."""
    tried = len(ledger)
    if tried == 0:
        return min(settings.n_pilot, settings.max_structures)
    wanted = 0.0
    for there, missing in _missing(settings, rating):
        share = (there + 1) / (tried + 2)
        wanted = max(wanted, (missing + math.sqrt(missing * (1 - share))) / share)
    limits = [wanted, settings.max_structures - tried, _GROWTH * tried]
    if settings.method != "random":
        limits.append(settings.n_pilot)
    if settings.max_force_calls is not None and ledger.n_force_calls:
        calls_left = settings.max_force_calls - ledger.n_force_calls
        limits.append(calls_left * tried / ledger.n_force_calls)
    return max(1, math.ceil(min(limits)))
