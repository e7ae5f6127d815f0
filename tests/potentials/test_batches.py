"""Batches of limited size, and memory that does not suffice."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Evaluation
from dismaiflow.potentials.batches import Batches


class OutOfMemoryError(RuntimeError):
    """As that of torch."""


def batches(memory=10**9, most=10):
    """Graphs are numbers of edges; the memory holds so many of them."""
    seen = []

    def compute(graphs):
        if sum(graphs) > memory:
            raise OutOfMemoryError("CUDA out of memory")
        seen.append(graphs)
        return [Evaluation(float(edges), np.zeros((1, 3))) for edges in graphs]

    return Batches(compute, lambda edges: edges, most), seen


def test_batches_are_full_and_in_order():
    maker, seen = batches()
    found = maker.run([4, 5, 2, 30, 1, 9])
    assert [evaluation.energy for evaluation in found] == [4, 5, 2, 30, 1, 9]
    assert seen == [[4, 5], [2], [30], [1, 9]]


def test_a_full_memory_halves_the_batches_for_good():
    maker, seen = batches(memory=6, most=100)
    assert [e.energy for e in maker.run([3] * 7)] == [3] * 7
    assert seen == [[3], [3], [3], [3], [3], [3], [3]] or max(map(len, seen)) == 2
    assert maker.most_edges <= 10
    before = maker.most_edges
    maker.run([3] * 4)
    assert maker.most_edges == before


def test_a_structure_that_does_not_fit_at_all():
    maker, _ = batches(memory=6)
    with pytest.raises(DismaiError, match="does not suffice for one structure of 7 edges: use cpu"):
        maker.run([3, 7])


def test_other_errors_are_passed_on():
    def compute(graphs):
        raise RuntimeError("CUDA error: device-side assert")

    with pytest.raises(RuntimeError, match="device-side"):
        Batches(compute, lambda graph: 1, 10).run([1])
