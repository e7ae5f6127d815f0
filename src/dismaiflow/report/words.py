"""How numbers are printed, and what names mean, for tables and reports alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: What is printed where there is no value.
NOTHING = "n/a"

#: Prefix of metrics in per cent.
_PERCENT = "percent_"

_METRIC_LABELS = {
    "percent_with_vacancies": "% with vacancies",
    "percent_failed": "% failed",
}

#: One line on each metric.
METRIC_MEANINGS = {
    "d_cluster": "Euclidean distance between the mean cluster fingerprints of the generated and "
    "of the training structures.",
    "percent_with_vacancies": "Share of the accepted structures in which at least one lattice site "
    "holds no atom.",
    "percent_failed": "Share of the generated structures that could not be scored.",
    "d_all": "Euclidean distance between the mean coordination fingerprints of all cations.",
    "d_motif": "Euclidean distance between the mean coordination fingerprints of the atoms.",
    "d_rdf": "Euclidean distance between the mean radial distribution functions.",
    "d_angle": "Euclidean distance between the mean distributions of bond angles.",
}

_FINGERPRINT_MEANING = (
    "Euclidean distance between the mean coordination fingerprints of {symbol} in the generated "
    "and in the training structures."
)

_REASONS = {
    "unreadable": "could not be parsed",
    "not_finite": "a coordinate or length is not finite",
    "foreign_element": "an element that is not in training",
    "wrong_count": "another number of atoms than in training",
    "wrong_composition": "another composition than in training",
    "wrong_cell": "another cell than in training",
    "too_many_removed": "over 50 atoms on no site of their own",
    "no_lattice": "no lattice can be found in it",
    "job_failed": "the job that counts it did not finish",
    "too_close": "atoms that are too close do not come apart",
    "not_converged": "forces are left after the last step",
    "exploded": "its atoms flew apart or fell into each other",
    "errored": "the potential could not compute it",
    "analysis_failed": "its neighbours cannot be found",
}

_CONTROLS = {
    "train-resample": "training structures drawn again: the floor",
    "validation": "structures made in the same way, kept from training",
    "random-occupancy": "the training lattice, its species shuffled",
    "rattled": "training structures with 0.1 Å of noise",
    "uniform-random": "atoms anywhere in the cell",
    "high-energy": "structures of the same search above the cut of the energy",
}

#: The control that shows the floor, and the one that knows the lattice but no order.
FLOOR_CONTROL, RANDOM_CONTROL, FRESH_CONTROL = "train-resample", "random-occupancy", "validation"

#: Controls that show how large a distance is, the most telling first, with their labels.
_SCALES = {
    RANDOM_CONTROL: "random occupancy",
    "uniform-random": "uniform random",
    "rattled": "rattled",
}

_ALIGNMENTS = {
    "fixed": "the lattice stands where the training structures have it (CryinGAN's script)",
    "translated": "the lattice is moved onto the atom nearest the origin (DiffCSP's script)",
    "rotated": "orientation and position are searched for (CDVAE's script)",
    "registered": "one rigid registration, the best fit over all atoms",
}


@dataclass(frozen=True)
class Measure:
    """A comparison of whole distributions.

    Parameters
    ----------
    label : str
        Its name for people, with the unit in which it is printed.
    short : str
        What it says, in a line of the terminal.
    meaning : str
        What it says, in sentences.
    ideal : str
        What a perfect model has.
    scale : float
        By what values are multiplied for printing.
    """

    label: str
    short: str = ""
    meaning: str = ""
    ideal: str = ""
    scale: float = 1.0


MEASURES = {
    "w1_sro": Measure(
        "W1 of order",
        "distance of the Warren-Cowley distributions, mean over them",
        "Wasserstein distance between the distributions of each Warren-Cowley parameter in the two "
        "sets, mean over the parameters. Unlike a distance of means, it sees their shapes.",
        "0",
    ),
    "w1_energy": Measure(
        "W1 of energy (meV)",
        "distance of the energy distributions, meV/atom",
        "Wasserstein distance between the distributions of the energy in the two sets (of alloys "
        "the formation energy), in meV/atom.",
        "0",
        1e3,
    ),
    "spread_ratio": Measure(
        "spread ratio",
        "spread of fingerprints over training's; near 0: collapse",
        "Spread of the generated fingerprints over that of the training set. Towards 0 the model "
        "has collapsed onto a few structures.",
        "1",
    ),
    "unique_fraction": Measure(
        "unique fraction",
        "distinct structures among those compared",
        "Share of distinct structures among the generated ones, of alloys among those on the "
        "lattice. Drawing training structures with replacement repeats some, which is why the "
        "floor is below 1.",
        "1",
    ),
    "w1_motif": Measure(
        "W1 of motifs",
        "distance of the fingerprint distributions, mean over components",
        "Wasserstein distance between the distributions of each component of the structures' mean "
        "fingerprints in the two sets, mean over the components. Unlike a distance of means, it "
        "sees their shapes.",
        "0",
    ),
    "nearest_profile_median": Measure(
        "nearest training",
        "distance to the nearest training structure; 0: copy, 1: as among themselves",
        "Distance of the pair-distance profile from that of the nearest training structure, in "
        "units of what training structures have among themselves; median over the set. 0 is a "
        "copy, however it is shifted or its atoms are numbered.",
        "as validation",
    ),
    "nearest_profile_min": Measure(
        "nearest, smallest",
        "the smallest of these distances",
        "The smallest of these distances: 0 means that at least one structure is a copy.",
        "as validation",
    ),
    "nearest_training_median": Measure(
        "nearest training",
        "sites unlike the nearest training structure; 0: copy",
        "Share of the sites that differ from the nearest training structure at the best "
        "translation, median over the set. 0 is a copy.",
        "as validation",
    ),
    "nearest_training_min": Measure(
        "nearest, smallest",
        "the smallest of these shares",
        "The smallest of these shares: 0 means that at least one structure is a copy.",
        "as validation",
    ),
}


def measure(name: str) -> Measure:
    """Return what is known of a distribution measure; of a new one only its name."""
    return MEASURES.get(name, Measure(name))


def metric_meaning(name: str) -> str:
    """Say what a metric is; the name itself if nothing is known of it."""
    if name in METRIC_MEANINGS or not name.startswith("d_"):
        return METRIC_MEANINGS.get(name, name)
    return _FINGERPRINT_MEANING.format(symbol=name.removeprefix("d_").capitalize())


def scale_control(controls: Mapping[str, object]) -> tuple[str, str] | None:
    """Return name and label of the control that shows how large a distance is, if one is there."""
    return next(((name, label) for name, label in _SCALES.items() if name in controls), None)


def metric_label(name: str) -> str:
    """Name a metric as the paper does."""
    if name in _METRIC_LABELS:
        return _METRIC_LABELS[name]
    return name.replace(_PERCENT, "% ").replace("_", " ") if name.startswith(_PERCENT) else name


def reason_meaning(reason: str) -> str:
    """Say what a reason for failure means; nothing for an unknown one."""
    return _REASONS.get(reason, "")


def control_meaning(name: str) -> str:
    """Say what a control is; nothing for an unknown one."""
    return _CONTROLS.get(name, "")


def alignment_meaning(alignment: str | None) -> str:
    """Say what an alignment does; nothing for an unknown one."""
    return _ALIGNMENTS.get(alignment or "", "")


def is_percent(metric: str) -> bool:
    """Tell whether a metric is in per cent."""
    return metric.startswith(_PERCENT)


def number(value: float | None, digits: int = 3) -> str:
    """Print a number with so many significant digits, as the paper's tables do.

    Parameters
    ----------
    value : float or None
        None and what is not finite are printed as `NOTHING`.
    digits : int
        Significant digits.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def percent(value: float | None) -> str:
    """Print a percentage: three significant digits, at most two decimals, and 100 only if it is."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 100:
        return "100"
    if 0 < value < 0.01:
        return "<0.01"
    if value >= 99.95:
        return f"{min(value, 99.99):.2f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def metric_text(name: str, value: float | None) -> str:
    """Print the value of a metric."""
    return percent(value) if is_percent(name) else number(value)


def measure_text(name: str, value: float | None) -> str:
    """Print the value of a distribution measure in the unit of its label."""
    return number(None if value is None else value * measure(name).scale)


def order_title(label: str) -> str:
    """Turn ``1NN_Cr-Fe`` into ``Cr-Fe, shell 1``; other names stay as they are."""
    shell, _, pair = label.partition("NN_")
    return f"{pair}, shell {shell}" if pair and shell.isdigit() else label.replace("_", " ")


def motif_text(name: str) -> str:
    """Print the name of a coordination motif, such as ``tetrahedral CN_4``."""
    return name.replace("sgl_bd", "single bond").replace(" CN_", ", CN ")


def plural(n: int, one: str) -> str:
    """Print a count with its noun."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"
