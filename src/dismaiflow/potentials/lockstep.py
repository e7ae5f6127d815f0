"""Relaxation of many structures at once, for potentials that compute a batch in one go."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.relaxation import RelaxationResult, relax_with

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ase import Atoms

    from dismaiflow.potentials.base import BatchEvaluator, Evaluation
    from dismaiflow.potentials.relaxation import RelaxationSettings

    _Answers = queue.SimpleQueue[Evaluation | BaseException]

#: Structures that are relaxed at the same time.
IN_FLIGHT = 64


def relax_batched(
    structures: Sequence[Atoms],
    evaluator: BatchEvaluator,
    settings: RelaxationSettings,
    in_flight: int = IN_FLIGHT,
) -> Generator[tuple[int, RelaxationResult], None, None]:
    """Relax structures, with one evaluation for all that wait for one.

    Each structure has an optimiser of its own, the same as in `relax`, in a thread that waits for
    its energies and forces. Once all wait, what they ask for is computed as one batch. A finished
    structure makes room for the next, so that batches stay full. The batches are the same in every
    run.

    Parameters
    ----------
    structures : sequence of Atoms
        Of any sizes; not changed.
    evaluator : BatchEvaluator
        Called in this thread only. If it fails for a batch, it is asked for halves of it and so on,
        until those structures are found that it fails for alone; they become ``errored``.
    settings : RelaxationSettings
        How.
    in_flight : int
        Structures in a batch at most.

    Yields
    ------
    index : int
        Of the structure, as they finish.
    result : RelaxationResult
        What became of it.

    Raises
    ------
    DismaiError
        If the device itself failed, so that all further evaluations would fail.
    """
    if in_flight < 1:
        raise DismaiError(f"a batch needs at least one structure, got {in_flight}")
    return _Lockstep(structures, evaluator, settings, in_flight).run()


class _Abandoned(BaseException):
    """Ends the thread of a structure; no calculator error, so that no optimiser catches it."""


@dataclass
class _Ask:
    """A structure waits for its evaluation."""

    index: int
    atoms: Atoms


@dataclass
class _Done:
    """A structure is finished; without a result if it was abandoned or the thread failed."""

    index: int
    result: RelaxationResult | None
    error: BaseException | None = None


@dataclass
class _Flight:
    """A structure and the thread of its optimiser."""

    thread: threading.Thread
    answers: _Answers


class _Lockstep:
    def __init__(
        self,
        structures: Sequence[Atoms],
        evaluator: BatchEvaluator,
        settings: RelaxationSettings,
        in_flight: int,
    ) -> None:
        self._structures = structures
        self._evaluator = evaluator
        self._settings = settings
        self._in_flight = in_flight
        self._next = 0
        self._flights: dict[int, _Flight] = {}
        self._events: queue.SimpleQueue[_Ask | _Done] = queue.SimpleQueue()

    def run(self) -> Generator[tuple[int, RelaxationResult], None, None]:
        try:
            self._fill()
            waiting: dict[int, Atoms] = {}
            while True:
                while len(waiting) < len(self._flights):
                    event = self._events.get()
                    if isinstance(event, _Ask):
                        waiting[event.index] = event.atoms
                        continue
                    self._flights.pop(event.index).thread.join()
                    if event.error is not None:
                        raise event.error
                    assert event.result is not None
                    self._fill()
                    yield event.index, event.result
                # Sorted, because the threads are not always equally fast.
                batch = sorted(waiting)
                if not batch:
                    return
                answers = _evaluate(self._evaluator, [waiting[index] for index in batch])
                waiting.clear()
                for index, answer in zip(batch, answers, strict=True):
                    self._flights[index].answers.put(answer)
        finally:
            for flight in self._flights.values():
                flight.answers.put(_Abandoned())
            for flight in self._flights.values():
                flight.thread.join()

    def _fill(self) -> None:
        while len(self._flights) < self._in_flight and self._next < len(self._structures):
            index = self._next
            self._next += 1
            answers: _Answers = queue.SimpleQueue()
            # A daemon, so that nothing keeps an interpreter that ends in the middle.
            thread = threading.Thread(target=self._relax, args=(index, answers), daemon=True)
            thread.start()
            self._flights[index] = _Flight(thread, answers)

    def _relax(self, index: int, answers: _Answers) -> None:
        def evaluate(atoms: Atoms) -> Evaluation:
            self._events.put(_Ask(index, atoms))
            answer = answers.get()
            if isinstance(answer, BaseException):
                raise answer
            return answer

        try:
            result = relax_with(self._structures[index], evaluate, self._settings)
        except BaseException as error:  # noqa: BLE001
            # A thread that ends without a word would be waited for.
            self._events.put(_Done(index, None, error))
        else:
            self._events.put(_Done(index, result))


def _evaluate(
    evaluator: BatchEvaluator, structures: list[Atoms]
) -> list[Evaluation | BaseException]:
    """Compute a batch; structures for which that fails have the exception instead."""
    try:
        answers = evaluator.evaluate(structures)
        if len(answers) != len(structures):
            raise RuntimeError(f"{len(answers)} evaluations of {len(structures)} structures")
    except Exception as error:
        if _device_failed(error):
            raise DismaiError(
                f"the device failed ({one_line(error)}): start this again; what was finished is "
                "kept in the journal"
            ) from error
        if len(structures) == 1:
            return [error]
        middle = len(structures) // 2
        return _evaluate(evaluator, structures[:middle]) + _evaluate(evaluator, structures[middle:])
    return list(answers)


def _device_failed(error: Exception) -> bool:
    """Whether CUDA says that it is in a state that it does not leave; full memory is none."""
    return "CUDA error" in str(error) and "out of memory" not in str(error)
