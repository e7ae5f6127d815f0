"""Every setting of the VASP calculations, with its source: input sets and docs are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from dismaiflow.dft.defaults import (
    KPOINT_LENGTH_BULK,
    KPOINT_LENGTH_METAL,
    MAX_STEPS,
    MOMENTS,
    OTHER_MOMENT,
    OURS,
    DftBlock,
    dft_block,
    f_elements,
    magnetic,
)
from dismaiflow.errors import DismaiError, suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.systems import SystemSpec
    from dismaiflow.systems.interface_blocks import DftStage, KPoints

#: Kinds of calculations: the cell of a bulk crystal with all in it; the region of an interface;
#: all its atoms; cell and atoms of an interface; cell and atoms of an alloy; nothing that moves.
Stage = Literal["bulk", "region", "all", "full-cell", "alloy-cell", "static"]
STAGES: tuple[Stage, ...] = get_args(Stage)

#: What each is, for a person.
STAGE_TITLES: dict[Stage, str] = {
    "bulk": "Bulk relaxation",
    "region": "Interface, first stage: the region only",
    "all": "Interface, second stage: all atoms",
    "full-cell": "Interface with its cell",
    "alloy-cell": "Alloy with its cell, spin-polarised",
    "static": "Single point",
}

#: VASP's names of functionals.
_GGA = {"PBE": "PE", "PBEsol": "PS", "RPBE": "RP", "AM05": "AM"}

#: Quantum number of the orbitals on which a Hubbard U acts.
_ORBITALS = {"s": 0, "p": 1, "d": 2, "f": 3}

#: Which cell vectors may change: not the third, along which the vacuum lies.
FIXED_C = [True, True, False]


@dataclass(frozen=True)
class Setting:
    """One setting of a calculation.

    Parameters
    ----------
    file : str
        ``INCAR``, ``KPOINTS``, ``POTCAR`` or ``POSCAR``.
    key : str
        Its name.
    value : Any
        Its value; a dict by element where VASP wants one number per element or atom.
    source : str
        Where the paper gives it, or ``our choice`` and why.
    """

    file: str
    key: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        """The value as a person reads it."""
        if isinstance(self.value, dict):
            return ", ".join(f"{key} {value}" for key, value in self.value.items())
        if isinstance(self.value, tuple):
            return " x ".join(map(str, self.value))
        if isinstance(self.value, list):
            return " ".join(".TRUE." if flag else ".FALSE." for flag in self.value)
        if isinstance(self.value, bool):
            return ".TRUE." if self.value else ".FALSE."
        return str(self.value)


def stages_of(spec: SystemSpec) -> tuple[Stage, ...]:
    """Return the calculations that make sense for a system, in the order in which they are done."""
    if spec.kind == "alloy":
        return ("alloy-cell", "static")
    if spec.kind == "amorphous":
        return ("static",)
    block = dft_block(spec).dft
    found: list[Stage] = [_stage_name(stage) for stage in block.stages]
    return ("bulk", *found, "static")


def last_stage(spec: SystemSpec) -> Stage:
    """Return the calculation with which the relaxation of an interface ends."""
    return _stage_name(dft_block(spec).dft.stages[-1])


def settings_of(
    spec: SystemSpec | None, stage: Stage, phase: str | None = None, fixed_c: bool | None = None
) -> tuple[Setting, ...]:
    """Return all settings of a calculation.

    Parameters
    ----------
    spec : SystemSpec, optional
        The system; without one, the paper's settings for any.
    stage : str
        The calculation.
    phase : str, optional
        The bulk phase, which decides the k-points of ``bulk``.
    fixed_c : bool, optional
        For ``full-cell``: whether the third cell vector stays as it is; by default as the system
        says.

    Raises
    ------
    DismaiError
        If the system does not describe the calculation, or names an unknown functional.
    """
    if stage not in STAGES:
        raise DismaiError(f"no DFT calculation {stage!r}: {suggestion(stage, STAGES)}")
    block = dft_block(spec, stage)
    return (
        *_electrons(block, stage),
        *_ions(block, stage, fixed_c),
        *_hubbard(block),
        *_kpoints(block, stage, phase),
        Setting("POTCAR", "family", block.dft.potential_family, block.source("potential_family")),
        *(
            Setting("POTCAR", symbol, name, block.potential_source(symbol))
            for symbol, name in block.potentials.items()
        ),
        _moving(block, stage),
    )


def config_of(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return settings as pymatgen's input sets take them: a dict by file."""
    config: dict[str, Any] = {"INCAR": {}, "KPOINTS": {}, "POTCAR": {}}
    for setting in settings:
        if setting.file in config:
            value = setting.value
            # JSON knows no tuples, and a Maker must equal itself after a store.
            config[setting.file][setting.key] = list(value) if isinstance(value, tuple) else value
    config["POTCAR_FUNCTIONAL"] = config["POTCAR"].pop("family")
    return config


def free_cell_warning(spec: SystemSpec | None, stage: Stage, fixed_c: bool | None) -> str | None:
    """Return what to beware of where a cell with vacuum may change along c, or None."""
    if stage != "full-cell" or _holds_c(dft_block(spec, stage), fixed_c):
        return None
    name = "the interface" if spec is None else spec.name
    return (
        f"{name}: all three cell vectors are free, as the paper prints it for the binary "
        "interfaces; a slab with vacuum can shrink along c until the vacuum is closed: compare c "
        "afterwards, or set cell: fixed-c in dft.stages (fixed_c of the Maker)"
    )


def _stage_name(stage: DftStage) -> Stage:
    if stage.relax == "region":
        return "region"
    return "all" if stage.cell == "fixed" else "full-cell"


def _stage_block(block: DftBlock, stage: Stage) -> DftStage | None:
    """Return the stage of the spec that a calculation of an interface is; None for others."""
    if stage not in ("region", "all", "full-cell"):
        return None
    wanted = "region" if stage == "region" else "all"
    found = next((one for one in block.dft.stages if one.relax == wanted), None)
    if found is None:
        raise DismaiError(
            f"{block.origin}: key 'dft.stages' has none with relax: {wanted}: add it there"
        )
    return found


def _electrons(block: DftBlock, stage: Stage) -> list[Setting]:
    """Return what decides the energy of given atoms."""
    gga = _GGA.get(block.dft.functional)
    if gga is None:
        raise DismaiError(
            f"{block.origin}: key 'dft.functional': no functional {block.dft.functional!r}: "
            f"{suggestion(block.dft.functional, list(_GGA))}"
        )
    metal = block.metal
    tight = metal or stage == "bulk"
    cutoff, source = _cutoff(block, stage)
    lmaxmix = 6 if f_elements(block.species) else 4
    rows: list[tuple[str, Any, str]] = [
        ("GGA", gga, block.source("functional")),
        ("ENCUT", cutoff, source),
        ("PREC", "Accurate", f"{OURS}: forces without egg-box noise"),
        ("ALGO", "Normal", f"{OURS}: VASP's default, the most robust"),
        ("EDIFF", 1e-6 if tight else 1e-5, f"{OURS}: well below what the force limit needs"),
        ("NELM", 200, f"{OURS}: random interfaces converge slowly at first"),
        ("ISMEAR", 1 if metal else 0, f"{OURS}: {_smearing(metal)}"),
        ("SIGMA", 0.1 if metal else 0.05, f"{OURS}: small, so that the energy hardly feels it"),
        ("LASPH", True, f"{OURS}: non-spherical terms within the PAW spheres, due with DFT+U"),
        ("LMAXMIX", lmaxmix, f"{OURS}: mixes the d (f: 6) densities on the atoms too, due with U"),
        _projection(stage, metal),
        ("LCHARG", False, f"{OURS}: nothing reads it, and it is large"),
        ("LWAVE", False, f"{OURS}: nothing reads it, and it is large"),
    ]
    if magnetic(block.species):
        moments = {symbol: MOMENTS.get(symbol, OTHER_MOMENT) for symbol in block.species}
        rows += [
            ("ISPIN", 2, block.spin_source),
            ("MAGMOM", moments, f"{OURS}: the start; moments of the structure stand above it"),
            ("LORBIT", 11, f"{OURS}: moments of the atoms are written, for the next stage"),
        ]
    else:
        rows.append(("ISPIN", 1, f"{OURS}: no element here bears a moment"))
    return [Setting("INCAR", *row) for row in rows]


def _smearing(metal: bool) -> str:
    return "the forces of a metal" if metal else "Gaussian, safe for insulators and metals"


def _projection(stage: Stage, metal: bool) -> tuple[str, Any, str]:
    """Return whether projectors work in real space."""
    if stage in ("bulk", "alloy-cell") or (stage == "static" and metal):
        return "LREAL", False, f"{OURS}: exact, and a small cell can afford it"
    return "LREAL", "Auto", f"{OURS}: several times faster in cells of hundreds of atoms"


def _cutoff(block: DftBlock, stage: Stage) -> tuple[float, str]:
    """Return the plane-wave cutoff, eV, and its source."""
    found = _stage_block(block, stage)
    if found is not None:
        return found.encut, block.source("stages")
    if stage == "static" and not block.metal:
        return block.dft.stages[-1].encut, block.source("stages")
    bulk = block.dft.bulk
    assert bulk is not None, "a block that was filled in has one"
    return bulk.encut, block.source("bulk/encut")


def _ions(block: DftBlock, stage: Stage, fixed_c: bool | None) -> list[Setting]:
    """Return how atoms and cell move."""
    if stage == "static":
        return [Setting("INCAR", "NSW", 0, f"{OURS}: a single point")]
    found = _stage_block(block, stage)
    bulk = block.dft.bulk
    assert bulk is not None, "a block that was filled in has one"
    fmax, steps = (found.fmax, found.max_steps) if found else (bulk.fmax, None)
    source = block.source("stages" if found else "bulk/fmax")
    free_cell = stage in ("bulk", "full-cell", "alloy-cell")
    rows: list[tuple[str, Any, str]] = [
        ("IBRION", 2, f"{OURS}: conjugate gradients, safe far from a minimum"),
        ("ISIF", 3 if free_cell else 2, _cell_source(found, free_cell, source)),
    ]
    if fmax is None:
        rows += [
            # A limit would make custodian restart what is meant to end here.
            ("EDIFFG", 0, f"{OURS}: no limit, so that the number of steps alone ends the stage"),
            ("NSW", steps, source),
        ]
    else:
        own = f"{OURS}: a bound that a sound run does not reach"
        limit = MAX_STEPS["cell" if free_cell and stage != "full-cell" else "atoms"]
        rows += [
            ("EDIFFG", -fmax, source),
            ("NSW", steps or limit, source if steps else own),
        ]
    if stage == "full-cell" and _holds_c(block, fixed_c):
        why = "keeps the vacuum; relaxations heed it from about VASP 6.4, older ones do not"
        rows.append(("LATTICE_CONSTRAINTS", list(FIXED_C), f"{OURS}: {why}"))
    return [Setting("INCAR", *row) for row in rows]


def _cell_source(stage: DftStage | None, free_cell: bool, source: str) -> str:
    """Return where it is said whether the cell relaxes."""
    if stage is None or free_cell == (stage.cell != "fixed"):
        return source
    return f"{OURS}: other than key 'dft.stages' of the system, by the Maker that was chosen"


def _holds_c(block: DftBlock, fixed_c: bool | None) -> bool:
    if fixed_c is not None:
        return fixed_c
    stage = _stage_block(block, "full-cell")
    return stage is not None and stage.cell == "fixed-c"


def _hubbard(block: DftBlock) -> list[Setting]:
    """Return the terms of DFT+U; pymatgen drops them from a cell without such an element."""
    terms = block.dft.hubbard_u
    if not terms:
        return []
    source = block.source("hubbard_u")
    others = [symbol for symbol in block.species if symbol not in terms]
    orbitals = {s: _ORBITALS[u.orbital] for s, u in terms.items()} | dict.fromkeys(others, -1)
    rows: list[tuple[str, Any, str]] = [
        ("LDAU", True, source),
        ("LDAUTYPE", 2, f"{OURS}: Dudarev's form, in which one effective U is all there is"),
        ("LDAUL", orbitals, source),
        ("LDAUU", {s: u.u for s, u in terms.items()}, source),
        ("LDAUJ", dict.fromkeys(terms, 0.0), f"{OURS}: U is the effective one"),
    ]
    return [Setting("INCAR", *row) for row in rows]


def _kpoints(block: DftBlock, stage: Stage, phase: str | None) -> list[Setting]:
    mesh: KPoints | None = None
    source = f"{OURS}: so many points that their number times the cell vector reaches it, Å"
    length = KPOINT_LENGTH_METAL if block.metal else KPOINT_LENGTH_BULK
    if stage == "bulk":
        meshes = block.dft.bulk.kpoints if block.dft.bulk else {}
        if phase is not None and phase not in block.phases:
            raise DismaiError(
                f"{block.origin}: no phase {phase!r}: {suggestion(phase, block.phases)}"
            )
        mesh = meshes.get(phase or "")
        source = block.source(f"bulk/kpoints/{phase}") if mesh else source
    elif not block.metal:
        mesh, source = block.dft.kpoints, block.source("kpoints")
    if mesh is None:
        return [
            Setting("KPOINTS", "style", "gamma", f"{OURS}: right for every lattice"),
            Setting("KPOINTS", "length", length, source),
        ]
    return [
        Setting("KPOINTS", "style", mesh.style, source),
        Setting("KPOINTS", "grid", tuple(mesh.grid), source),
    ]


def _moving(block: DftBlock, stage: Stage) -> Setting:
    """Return which atoms POSCAR frees."""
    moves = {"region": "those of the region", "static": "none"}.get(stage, "all")
    source = block.source("bulk" if stage == "bulk" else "stages")
    if stage in ("alloy-cell", "static"):
        source = f"{OURS}: {'a single point' if stage == 'static' else 'cell and atoms relax'}"
    return Setting("POSCAR", "free atoms", moves, source)


def setting_groups(
    spec: SystemSpec | None,
    stages: Sequence[Stage] | None = None,
    fixed_c: bool | None = None,
) -> list[tuple[str, list[Setting]]]:
    """Return the settings of several calculations as they are shown.

    Parameters
    ----------
    spec : SystemSpec, optional
        The system.
    stages : sequence of str, optional
        The calculations; by default all of the system, or all there are without one.
    fixed_c : bool, optional
        See `settings_of`.

    Returns
    -------
    list of (str, list of Setting)
        Title and settings: those that all share, then what each has of its own. ``bulk`` is there
        once for each phase.
    """
    chosen = stages or (STAGES if spec is None else stages_of(spec))
    single: list[tuple[str, tuple[Setting, ...]]] = []
    for stage in chosen:
        phases = tuple(spec.bulk or {}) if spec is not None and stage == "bulk" else ()
        for phase in phases or (None,):
            title = STAGE_TITLES[stage] + (f" ({phase})" if phase else "")
            single.append((title, settings_of(spec, stage, phase, fixed_c)))
    if len(single) == 1:
        return [(single[0][0], list(single[0][1]))]
    rest = [settings for _, settings in single[1:]]
    common = [one for one in single[0][1] if all(one in settings for settings in rest)]
    groups = [(title, [s for s in settings if s not in common]) for title, settings in single]
    return [("All calculations", common), *groups]
