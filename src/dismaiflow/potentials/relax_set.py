"""Relaxation of a set of structures, on all cores or on a device, that can be interrupted."""

from __future__ import annotations

import atexit
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from dismaiflow.parallel import LostTask, available_cores, one_thread, run_parallel
from dismaiflow.potentials.journal import Journal, journal_key
from dismaiflow.potentials.lockstep import relax_batched
from dismaiflow.potentials.relaxation import RelaxationResult, relax

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from ase import Atoms

    from dismaiflow.potentials.base import BatchEvaluator, Potential
    from dismaiflow.potentials.relaxation import RelaxationSettings
    from dismaiflow.structures.structure_set import StructureSet


def relax_set(
    structures: StructureSet,
    potential: Potential,
    settings: RelaxationSettings,
    *,
    n_processes: int | None = None,
    device: str = "cpu",
    journal: Path | None = None,
    on_result: Callable[[int, RelaxationResult], None] | None = None,
) -> list[RelaxationResult]:
    """Relax all structures of a set.

    Parameters
    ----------
    structures : StructureSet
        What to relax.
    potential : Potential
        With what. Each process makes a calculator of its own, and a new one after an error.
    settings : RelaxationSettings
        How.
    n_processes : int, optional
        Processes on the CPU, of one thread each; by default one for each available core. A process
        that dies costs the structure that it was at, which becomes ``errored``. With 1 the work is
        done in this process, which dies with it.
    device : str
        Of PyTorch. On another than ``cpu`` the structures are relaxed in batches, if the potential
        can compute batches, and on the CPU if not.
    journal : Path, optional
        File of finished structures. Those that it holds for the same structures, potential and
        settings are not relaxed again, unless they were ``errored``; it stays when all is done.
        While another process writes it, as one that relaxes the same reference for another score,
        this one waits.
    on_result : callable, optional
        Called with index and result of each structure as it finishes; first with those of the
        journal.

    Returns
    -------
    list of RelaxationResult
        In the order of the structures; but for times, they do not depend on ``n_processes``.

    Raises
    ------
    DismaiError
        If the journal cannot be written, or what the potential raises when it is opened.
    """
    results: dict[int, RelaxationResult] = {}

    def take(index: int, result: RelaxationResult) -> None:
        results[index] = result
        if on_result is not None:
            on_result(index, result)

    with ExitStack() as stack:
        book = None
        if journal is not None and len(structures):
            key = journal_key(structures, potential.card.hash, settings)
            book = stack.enter_context(Journal(journal, key, wait=True))
            for index, result in sorted(book.results.items()):
                # An error may have had a passing cause, such as a server that was down.
                if result.status != "errored":
                    take(index, result)
        left = [index for index in range(len(structures)) if index not in results]
        todo = [structures.atoms(index) for index in left]
        evaluator = potential.evaluator(device) if todo and device != "cpu" else None
        if evaluator is None:
            work = _relax_in_processes(todo, potential, settings, n_processes)
        else:
            work = _relax_on_device(todo, evaluator, settings)
        for place, result in stack.enter_context(closing(work)):
            if book is not None:
                book.append(left[place], result)
            take(left[place], result)
    return [results[index] for index in range(len(structures))]


def _relax_on_device(
    todo: list[Atoms], evaluator: BatchEvaluator, settings: RelaxationSettings
) -> Generator[tuple[int, RelaxationResult], None, None]:
    try:
        yield from relax_batched(todo, evaluator, settings)
    finally:
        _close(evaluator)


def _relax_in_processes(
    todo: list[Atoms], potential: Potential, settings: RelaxationSettings, n_processes: int | None
) -> Generator[tuple[int, RelaxationResult], None, None]:
    wanted = available_cores() if n_processes is None else n_processes
    isolated = wanted > 1 or n_processes is None
    relaxer = _Relaxer(potential, settings, isolated)
    work = run_parallel(relaxer, todo, min(wanted, max(len(todo), 1)), isolate=isolated)
    with closing(work):
        try:
            for place, result in work:
                if isinstance(result, LostTask):
                    yield place, _lost(todo[place], result)
                else:
                    yield place, result
        finally:
            relaxer.close()


def _lost(atoms: Atoms, lost: LostTask) -> RelaxationResult:
    return RelaxationResult("errored", atoms.get_positions(), detail=lost.reason)


class _Relaxer:
    """Relaxes one structure after another with one calculator; can be pickled before."""

    def __init__(self, potential: Potential, settings: RelaxationSettings, isolated: bool) -> None:
        self._potential = potential
        self._settings = settings
        self._isolated = isolated
        self._calculator: Any = None

    def __call__(self, atoms: Atoms) -> RelaxationResult:
        if self._calculator is None:
            self._calculator = self._potential.calculator()
            # A process that is told to end may have to end programs that it started.
            atexit.register(self.close)
        try:
            with one_thread():
                result = relax(atoms, self._calculator, self._settings)
        except SystemExit as error:
            # In a process of its own this ends that process only.
            if self._isolated:
                raise
            detail = f"the potential ended the program ({error.code})"
            result = RelaxationResult("errored", atoms.get_positions(), detail=detail)
        if result.status == "errored":
            self.close()
        return result

    def close(self) -> None:
        if self._calculator is not None:
            calculator, self._calculator = self._calculator, None
            atexit.unregister(self.close)
            _close(calculator)


def _close(thing: Any) -> None:
    """Close a calculator or an evaluator that can be closed."""
    close = getattr(thing, "close", None)
    if close is not None:
        close()
