"""Committees: how far members are apart, and what they saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Evaluation, PotentialCard
from dismaiflow.potentials.training.committee import (
    bootstrap,
    committee_disagreements,
    disagreement,
)

from .toys import crystal, frames


def test_disagreement_by_hand():
    """Two members, two atoms: forces differ by (0, 0, 4) on the first and (6, 8, 0) on the second.

    Their standard deviations are 2 and 5; the energies, 1 and 3 eV, are 1 from their mean.
    """
    forces = [[[0, 0, 0], [0, 0, 0]], [[0, 0, 4], [6, 8, 0]]]
    found = disagreement([1, 3], forces)
    assert (found.force, found.energy) == (5, 0.5)
    assert found.mean_force == pytest.approx(np.sqrt((4 + 25) / 2))
    agreed = disagreement([2, 2, 2], np.ones((3, 4, 3)))
    assert (agreed.force, agreed.mean_force, agreed.energy) == (0, 0, 0)


@dataclass
class Member:
    """A potential that pushes all atoms along x."""

    push: float
    batched: bool = True

    @property
    def card(self):
        return PotentialCard(name="toy", engine="callable", hash="a")

    def evaluator(self, device="cpu"):
        return self if self.batched else None

    def evaluate(self, structures):
        return [
            Evaluation(self.push * len(a), np.tile([self.push, 0, 0], (len(a), 1)))
            for a in structures
        ]


def test_a_committee():
    structures = [crystal(1), crystal(2, repeat=(1, 1, 1))]
    found = committee_disagreements([Member(1), Member(3)], structures)
    assert [(one.force, one.energy) for one in found] == [(1, 1), (1, 1)]
    lost = committee_disagreements([Member(1), Member(np.nan)], structures)
    assert [one.force for one in lost] == [np.inf, np.inf]
    with pytest.raises(DismaiError, match="two potentials at least"):
        committee_disagreements([Member(1)], structures)
    with pytest.raises(DismaiError, match="'toy' cannot be a member"):
        committee_disagreements([Member(1), Member(1, batched=False)], structures)


def test_relaxations_drawn_with_replacement():
    whole = frames(5, 2)
    drawn = bootstrap(whole, 3)
    assert len(drawn) == len(whole)
    counts = Counter(drawn.parents)
    assert set(counts) <= set(whole.parents)
    assert all(n % 2 == 0 for n in counts.values())
    assert len(counts) < 5
    assert bootstrap(whole, 3).content_hash == drawn.content_hash
    assert bootstrap(whole, 4).content_hash != drawn.content_hash
