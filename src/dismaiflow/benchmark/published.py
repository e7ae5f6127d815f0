"""The published tables, and whether a score may stand in rank beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, Field

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.recipe import SHIPPED
from dismaiflow.settings import load_settings
from dismaiflow.structures.files import file_sha256
from dismaiflow.structures.published_manifest import MANIFEST, load_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dismaiflow.potentials.base import PotentialCard
    from dismaiflow.structures.published_manifest import StructuresFile

PAPER = "Digital Discovery 2024, 3, 1889"

#: The models of the paper, in the order of its tables.
MODELS = ("CDVAE", "DiffCSP", "CrysTens", "UniMat", "CryinGAN")

#: Content hashes of published reference sets that are known without a copy of them. None of these
#: files has been read where this was written; `published_hashes` reads the user's own copy.
PUBLISHED_REFERENCES: dict[str, str] = {}

#: Structures of a training set: 80 % of 1500 (paper, section 2.1).
N_TRAINING = 1200

#: Folders of the published data: what the paper's models generated, and its potentials.
_GENERATED, _POTENTIALS = "generated_data", "potentials"

_NO_COPY = "this machine has no verified copy of the published data (`dismai data fetch`)"


#: Columns of Tables S2 and S3.
_RELAXATION = ("steps_mean", "steps_std", "energy_drop_mean", "energy_drop_std")


class PublishedRow(BaseModel):
    """One row of Table 1, 2 or 3."""

    model: str
    metrics: dict[str, dict[str, float]] = Field(description="value, min and max by metric")


class PublishedTable(BaseModel):
    """Table 1 or 2, or one of the four parts of Table 3."""

    source: str
    metrics: list[str]
    rows: list[PublishedRow]


class LatticeDenoisingRow(BaseModel):
    """DiffCSP with lattice denoising and teacher forcing (Table S1)."""

    source: str
    model: str = "DiffCSP"
    metrics: dict[str, dict[str, float]] = Field(
        description="value, change from the same model without, min and max by metric"
    )


class RelaxationRow(BaseModel):
    """What relaxing the structures of a model takes: one row of Table S2 or S3."""

    model: str
    steps_mean: float
    steps_std: float
    energy_drop_mean: float = Field(description="E_initial - E_final, meV/atom")
    energy_drop_std: float


class RelaxationTable(BaseModel):
    """Table S2 or S3."""

    source: str
    potential: str
    rows: list[RelaxationRow]


class PublishedComparison(BaseModel):
    """The published rows beside a score."""

    comparable: bool
    why_not: str | None
    source: str | None
    rows: list[PublishedRow]
    evidence: dict[str, Any] = Field(
        default_factory=dict,
        description="the published files and hashes by which the score was found comparable",
    )


@dataclass(frozen=True)
class PublishedHashes:
    """What a copy of the published data holds.

    Parameters
    ----------
    record : str
        The Zenodo record it came from; empty without a copy.
    references : dict of str to StructuresFile
        Sets of structures that may be references, by their paths.
    weights : dict of str to str
        Paths of the files of potentials, by their SHA-256.
    """

    record: str = ""
    references: dict[str, StructuresFile] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)


@cache
def _tables() -> dict[str, Any]:
    text = files("dismaiflow.benchmark").joinpath("tables/published.yaml").read_text("utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables


def published_systems() -> tuple[str, ...]:
    """Return the six systems that the paper has scores for."""
    return tuple(_tables())


def published_table(system: str) -> PublishedTable | None:
    """Return the part of Tables 1 to 3 on a system, None where there is none."""
    table = _tables().get(system)
    if table is None:
        return None
    rows = [
        PublishedRow(model=model, metrics=_named(table["metrics"], values, ("value", "min", "max")))
        for model, values in table["rows"].items()
    ]
    return PublishedTable(source=table["source"], metrics=table["metrics"], rows=rows)


def relaxation_table(system: str) -> RelaxationTable | None:
    """Return Table S2 (the interface) or S3 (silicon), None for other systems."""
    table = _tables().get(system, {})
    part = table.get("relaxation")
    if part is None:
        return None
    rows = [
        RelaxationRow(model=model, **dict(zip(_RELAXATION, values, strict=True)))
        for model, values in part["rows"].items()
    ]
    return RelaxationTable(source=part["source"], potential=table["potential"]["name"], rows=rows)


def lattice_denoising_row(system: str) -> LatticeDenoisingRow | None:
    """Return the part of Table S1 on a system, None where there is none."""
    table = _tables().get(system, {})
    part = table.get("lattice_denoising")
    if part is None:
        return None
    metrics = _named(table["metrics"], part["values"], ("value", "change", "min", "max"))
    return LatticeDenoisingRow(source=part["source"], metrics=metrics)


def _named(
    metrics: Sequence[str], values: Sequence[Sequence[float]], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    return {
        metric: dict(zip(names, numbers, strict=True))
        for metric, numbers in zip(metrics, values, strict=True)
    }


def published_hashes(folder: Path | None = None) -> PublishedHashes:
    """Read which hashes the published files have from the user's copy of them.

    Parameters
    ----------
    folder : Path, optional
        The copy; by default that of the setting DATA_DIR.

    Returns
    -------
    PublishedHashes
        Nothing, unless all in the folder was fetched from the paper's record at zenodo.org with
        the checksums of the record. What was not fetched is missing in it.
    """
    try:
        manifest = load_manifest(folder if folder is not None else load_settings().DATA_DIR)
    except DismaiError:
        return PublishedHashes()  # a score must not fail for a copy that it need not have
    if not manifest.from_zenodo:
        return PublishedHashes()
    members = {p: m for f in manifest.files.values() if f.ready for p, m in f.members.items()}
    return PublishedHashes(
        record=manifest.record if members else "",
        references={
            path: member.structures
            for path, member in members.items()
            if member.structures is not None and _GENERATED not in path.split("/")
        },
        weights={m.sha256: path for path, m in members.items() if _POTENTIALS in path.split("/")},
    )


def published_references(system: str, hashes: PublishedHashes) -> dict[str, str]:
    """Return the files that hold the published training set of a system, by content hash.

    Parameters
    ----------
    system : str
        Name of one of the six systems.
    hashes : PublishedHashes
        A copy of the published data.

    Returns
    -------
    dict of str to str
        Paths by hash. A file counts if it is of 1200 structures of the system's composition; where
        systems share that, as the alloys do, its path must have every word of the system's name
        (``alloy``, ``300K``, ``narrow``). No path of the record was known when this was written.
    """
    if not hashes.references:
        return {}
    own = _composition(system)
    sharing = [name for name in published_systems() if _composition(name) == own]
    words = system.lower().split("-") if len(sharing) > 1 else []
    return {
        file.content_hash: path
        for path, file in hashes.references.items()
        if file.n_structures == N_TRAINING
        and file.composition == own
        and all(word in path.lower() for word in words)
    }


@cache
def _composition(system: str) -> dict[str, int]:
    from dismaiflow.systems import SystemSpec
    from dismaiflow.systems.data_files import LIBRARY

    return SystemSpec.from_file(LIBRARY / f"{system}.yaml").composition


def compare_with_published(
    system: str,
    reference_hash: str,
    protocol_name: str,
    potential: PotentialCard | None = None,
    marks: Sequence[str] = (),
) -> PublishedComparison:
    """Return the published rows of a system, and whether a score is comparable with them.

    Parameters
    ----------
    system : str
        Name of the system.
    reference_hash : str
        Content hash of the reference set.
    protocol_name : str
        Name of the scoring protocol.
    potential : PotentialCard, optional
        What the structures were relaxed with.
    marks : sequence of str
        Whatever else sets the score apart; each of them keeps it from being comparable.
    """
    published = published_table(system)
    if published is None:
        why_not = "the paper has no table for this system"
        return PublishedComparison(comparable=False, why_not=why_not, source=None, rows=[])
    hashes = published_hashes()
    needed = _tables()[system].get("potential")
    reasons: list[str] = []
    evidence = _check_reference(system, reference_hash, hashes, reasons)
    if needed is not None:
        evidence |= _check_potential(needed, potential, hashes, reasons)
    if protocol_name != "published":
        reasons.append(f"the protocol is {protocol_name}, not published")
    reasons += marks
    return PublishedComparison(
        comparable=not reasons,
        why_not="; ".join(dict.fromkeys(reasons)) or None,
        source=f"{PAPER}, {published.source}",
        rows=published.rows,
        evidence={"record": hashes.record, **evidence} if not reasons else {},
    )


def is_published_potential(system: str, potential: PotentialCard) -> bool:
    """Tell whether a potential is by its weights the one that the paper relaxes a system with."""
    needed = _tables().get(system, {}).get("potential")
    reasons: list[str] = []
    if needed is not None:
        _check_potential(needed, potential, published_hashes(), reasons)
    return needed is not None and not reasons


def _check_reference(
    system: str, reference_hash: str, hashes: PublishedHashes, reasons: list[str]
) -> dict[str, Any]:
    """Add why a reference is not the published one, or return what shows that it is."""
    if PUBLISHED_REFERENCES.get(system) == reference_hash:
        return {"reference_hash": reference_hash, "reference_file": ""}
    known = published_references(system, hashes)
    if reference_hash in known:
        return {"reference_hash": reference_hash, "reference_file": known[reference_hash]}
    if known or system in PUBLISHED_REFERENCES:
        reasons.append("the reference is not the published training set")
    elif hashes.record:
        reasons.append(f"{MANIFEST} lists no published training set of {system}")
    else:
        reasons.append(_NO_COPY)
    return {}


@cache
def _shipped_clients() -> set[str]:
    """Return the SHA-256 of the socket clients that the package brings, which are no weights."""
    return {file_sha256(path) for path in SHIPPED.glob("*.py")}


def _check_potential(
    needed: Mapping[str, Any],
    potential: PotentialCard | None,
    hashes: PublishedHashes,
    reasons: list[str],
) -> dict[str, Any]:
    """Add why a potential is not the published one, or return what shows that it is."""
    if potential is None:
        reasons.append(f"no potential is stated, the published one is {needed['name']}")
        return {}
    clients = _shipped_clients()
    weights = {name: sha for name, sha in potential.weights.items() if sha not in clients}
    folder = needed["folder"].lower()
    known = {s: p for s, p in hashes.weights.items() if folder in p.lower().split("/")}
    if potential.engine in needed["engines"] and weights and not known:
        reasons.append(
            f"{MANIFEST} lists no published {needed['name']}" if hashes.record else _NO_COPY
        )
    elif potential.engine not in needed["engines"] or not set(weights.values()) <= set(known):
        reasons.append(f"the potential is {potential.name}, not the published {needed['name']}")
    elif not weights:
        reasons.append(f"nothing shows that {potential.name} is the published {needed['name']}")
    else:
        used = {known[sha256]: sha256 for sha256 in weights.values()}
        return {"potential": potential.name, "potential_files": used}
    return {}
