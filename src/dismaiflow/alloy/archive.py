"""Monte Carlo runs as bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dismaiflow.alloy.sampling import Equilibration, RunSamples, SamplingSettings
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

_MAGIC = b"DISMAI-ALLOY-RUN-1"
_ARRAYS = ("occupations", "energy_quanta", "energies", "order", "sro")


def run_to_bytes(run: RunSamples) -> bytes:
    """Write a run, bit for bit."""
    header = {
        "settings": asdict(run.settings),
        "species": list(run.species),
        "sro_labels": run.sro_labels,
        "acceptance": run.acceptance,
        "equilibration": asdict(run.equilibration),
        "seed": run.seed,
    }
    return pack_arrays(_MAGIC, {name: getattr(run, name) for name in _ARRAYS}, header)


def run_from_bytes(data: bytes) -> RunSamples:
    """Read what `run_to_bytes` wrote.

    Raises
    ------
    DismaiError
        If the bytes are something else, or are cut off.
    """
    arrays, header = unpack_arrays(_MAGIC, data)
    kept: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
    return RunSamples(
        settings=SamplingSettings(**header["settings"]),
        species=tuple(header["species"]),
        sro_labels=header["sro_labels"],
        acceptance=header["acceptance"],
        equilibration=Equilibration(**header["equilibration"]),
        seed=header["seed"],
        **kept,
    )
