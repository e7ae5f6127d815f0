"""What the card of a sliced dataset warns of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.amorphous.slicing import SlicedBlocks, SliceSettings
    from dismaiflow.systems import SystemSpec

#: A composition may differ from the spec's by so much of the atoms before the card says so.
_COMPOSITION = 0.01


def slicing_warnings(
    spec: SystemSpec,
    quality: Mapping[str, Any],
    counts: Mapping[str, int],
    blocks: Mapping[str, SlicedBlocks],
    shared: Mapping[str, Any],
    settings: SliceSettings,
) -> list[str]:
    """Return the warnings of a card.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    quality : dict
        Of the parent.
    counts : dict of str to int
        Atoms of each element in the parent.
    blocks : dict of str to SlicedBlocks
        The sets.
    shared : dict
        From `overlap_report`.
    settings : SliceSettings
        How they were cut.
    """
    found = [f"parent: {text}" for text in quality["warnings"]]
    n_parent = sum(counts.values())
    wanted = spec.amorphous.parent.n_atoms
    if n_parent != wanted:
        found.append(f"the parent has {n_parent} atoms, not the {wanted} of key 'parent.n_atoms'")
    for symbol, n in spec.composition.items():
        share, target = counts[symbol] / n_parent, n / spec.amorphous.block.n_atoms
        if abs(share - target) > _COMPOSITION:
            found.append(
                f"{100 * share:.1f} % of the parent's atoms are {symbol}, and {100 * target:.1f} % "
                "of the blocks': cut faces have been changed to make up for it"
            )
    everything = shared["all"]
    if everything["n_effective"] < 0.5 * everything["n_blocks"]:
        found.append(
            f"{everything['n_blocks']} overlapping blocks hold as much as "
            f"{everything['n_effective']:.0f} independent ones at most (they cover the parent "
            f"{everything['coverage']:.1f} times)"
        )
    both = shared["train_and_val"]
    if both["atoms"]:
        found.append(
            f"{100 * both['fraction_of_second']:.0f} % of the parent's atoms in the validation "
            "blocks are in training blocks too: validation does not show memorisation"
        )
    closest = np.concatenate([part.closest_pair for part in blocks.values()])
    near = settings.min_distance
    if (closest < near).any():
        found.append(
            f"in {int((closest < near).sum())} of {len(closest)} blocks atoms face each other "
            f"across a cut nearer than {near:.2f} Å (nearest: {closest.min():.2f} Å): relax the "
            "blocks before use"
        )
    least = min(float(part.min_distance.min()) for part in blocks.values())
    if least < settings.min_distance:
        found.append(f"some added atoms found no room and are as near as {least:.2f} Å to another")
    return found
