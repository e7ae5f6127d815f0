"""Structures in batches end where they end alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from ase import Atoms

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import BatchEvaluator
from dismaiflow.potentials.lockstep import relax_batched
from dismaiflow.potentials.relaxation import RelaxationSettings, relax
from potentials.toys import Argon, Batches, argon

HOW = RelaxationSettings(fmax=0.005, tolerance=0.0)


@pytest.fixture
def structures() -> list[Atoms]:
    """Of two sizes, some of which need many more steps than others."""
    small = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 5.0]])
    return [argon(0), small, argon(1, spread=0.01), argon(2), argon(3), small, argon(4)]


@pytest.mark.parametrize("in_flight", [1, 3, 64])
def test_they_end_where_they_end_alone(structures: list[Atoms], in_flight: int) -> None:
    """To the last bit, with as many evaluations, of which most are shared."""
    evaluator = Batches()
    assert isinstance(evaluator, BatchEvaluator)
    results = dict(relax_batched(structures, evaluator, HOW, in_flight))
    assert sorted(results) == list(range(7))
    for index, atoms in enumerate(structures):
        alone = relax(atoms, Argon(), HOW)
        result = results[index]
        np.testing.assert_array_equal(result.positions, alone.positions)
        for name in ("status", "n_steps", "n_force_calls", "final_energy", "max_force", "detail"):
            assert getattr(result, name) == getattr(alone, name), name
    calls = [result.n_force_calls for result in results.values()]
    assert sum(evaluator.sizes) == sum(calls)
    assert max(evaluator.sizes) == min(in_flight, 7)
    if in_flight == 64:
        assert len(evaluator.sizes) == max(calls)


def test_finished_structures_make_room(structures: list[Atoms]) -> None:
    """The batch stays full until no structure is left to begin."""
    evaluator = Batches()
    work = relax_batched(structures, evaluator, HOW, 2)
    order = [index for index, _ in work]
    last_begun = len(evaluator.sizes) - evaluator.sizes[::-1].index(2)
    assert set(evaluator.sizes[:last_begun]) == {2}
    assert sorted(order) == list(range(7))
    assert order != sorted(order)


def test_batches_are_the_same_in_every_run(structures: list[Atoms]) -> None:
    """However the threads are scheduled."""

    class Listed(Batches):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[list[float]] = []

        def evaluate(self, structures):
            self.seen.append([float(atoms.positions.sum()) for atoms in structures])
            return super().evaluate(structures)

    runs = []
    for _ in range(2):
        evaluator = Listed()
        list(relax_batched(structures, evaluator, HOW, 4))
        runs.append(evaluator.seen)
    assert runs[0] == runs[1]


def test_only_the_guilty_are_errored(structures: list[Atoms]) -> None:
    """A batch that fails is halved until it is known for which structure."""
    structures[3].symbols[0] = "Xe"
    structures[4].symbols[0] = "Rn"
    results = dict(relax_batched(structures, Batches(), HOW))
    assert {i for i, r in results.items() if r.status == "errored"} == {3, 4}
    assert results[3].detail == "RuntimeError: isolated atom"
    assert "NaN" in results[4].detail
    alone = relax(structures[0], Argon(), HOW)
    assert results[0].final_energy == alone.final_energy


def test_full_memory_halves_a_batch(structures: list[Atoms]) -> None:
    """Every structure is computed nevertheless."""

    class Small(Batches):
        def evaluate(self, structures):
            if len(structures) > 2:
                raise RuntimeError("CUDA error: out of memory")
            return super().evaluate(structures)

    results = dict(relax_batched(structures, Small(), HOW))
    assert {result.status for result in results.values()} == {"converged"}


@pytest.mark.parametrize("in_flight", [1, 64])
def test_a_failed_device_ends_the_work(structures: list[Atoms], in_flight: int) -> None:
    """Instead of all structures that are left; so does an evaluator that returns too little."""

    class Failed(Batches):
        def evaluate(self, structures):
            raise RuntimeError("CUDA error: device-side assert triggered\nmore")

    before = threading.active_count()
    with pytest.raises(DismaiError, match="the device failed") as caught:
        list(relax_batched(structures, Failed(), HOW, in_flight))
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


def test_too_few_evaluations_are_an_error() -> None:
    class Lazy(Batches):
        def evaluate(self, structures):
            return []

    ((_, result),) = relax_batched([argon(0)], Lazy(), HOW)
    assert (result.status, result.detail) == (
        "errored",
        "RuntimeError: 0 evaluations of 1 structures",
    )


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_no_thread_is_left_behind(structures: list[Atoms], ending: type[BaseException]) -> None:
    """Neither by a closed generator nor by Ctrl-C within an evaluation."""

    class Interrupted(Batches):
        def evaluate(self, structures):
            if len(self.sizes) == 5:
                raise ending
            return super().evaluate(structures)

    before = threading.active_count()
    with pytest.raises(ending):
        list(relax_batched(structures, Interrupted(), HOW))
    work = relax_batched(structures, Batches(), HOW, 2)
    next(work)
    work.close()
    assert threading.active_count() == before


def test_an_empty_set_and_an_empty_batch() -> None:
    assert list(relax_batched([], Batches(), HOW)) == []
    with pytest.raises(DismaiError, match="at least one structure, got 0"):
        relax_batched([argon(0)], Batches(), HOW, 0)
