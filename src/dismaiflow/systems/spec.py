"""A system as data: everything that the package must know about a disordered material."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from dismaiflow.errors import DismaiError
from dismaiflow.systems.blocks import (
    DATASET_BLOCKS,
    DatasetSpec,
    ExpansionData,
    Lattice,
    OrderFilter,
    Parent,
    Sampling,
    Slice,
)
from dismaiflow.systems.checks import (
    Kind,
    check_alloy,
    check_amorphous,
    check_charges,
    check_interface,
    check_kind_keys,
    check_metrics,
    check_sources,
    default_metrics,
)
from dismaiflow.systems.data_files import bulk_from_cif, find_data_file
from dismaiflow.systems.fields import (
    Block,
    Cell,
    Composition,
    Matrix3,
    Symbol,
    describe,
    load_yaml,
)
from dismaiflow.systems.interface_blocks import (
    BulkPhase,
    Dft,
    Exchanges,
    InterfaceParts,
    Layers,
    Matching,
    Matrix2,
    PolarFixes,
    Region,
    Vacuum,
)
from dismaiflow.systems.parts import AlloyParts, AmorphousParts


def _without_cif(sources: dict[str, str]) -> dict[str, str]:
    """Move what is said of a CIF file to its phase, which no longer names the file."""
    return {key.removesuffix("/cif"): text for key, text in sources.items()}


def _expansion_tag(value: Any) -> str:
    return "(inline)" if isinstance(value, dict | ExpansionData) else "(file)"


class SystemSpec(Block):
    """A disordered system: what it is made of, how its dataset is made, what is measured.

    Immutable. `alloy`, `amorphous` and `interface` give the blocks of the kind with nothing
    optional left that the kind must have; `model_copy(update=...)` makes a changed spec.

    Parameters
    ----------
    name : str
        Name by which commands know it.
    kind : {"alloy", "amorphous", "interface"}
        Decides which of the keys below apply.
    description : str
        One line for lists.
    composition : dict
        Atoms of each element in a structure, which lists species in this order. An interface may
        leave it out: it then follows from slabs and region, once `InterfaceSystem` has built them.
    cell : Cell, optional
        The common cell, Å, where it is fixed. An alloy's follows from its lattice.
    oxidation_states : dict, optional
        Charge of each element.
    allow_charged : bool
        Accept a cell, or a phase, that these charges do not leave neutral.
    cations, anions : list of str, optional
        Elements whose neighbours are analysed, and the neighbours; the signs of the oxidation
        states decide where not given.
    metrics : list of str
        What a score holds, by the metric names of the package; chosen by kind if not given.
    reference_energy : float, optional
        Energy per atom against which energies are normalised (eq. 6 of the paper), eV.
    area : float, optional
        Interface area, Å^2; computed from the cell if that is given.
    dataset : DatasetSpec
        Sizes, split, protocol.
    sources : dict
        By key (``dataset/sampling`` for a nested one, ``system`` for the whole): where the
        values come from.
    lattice, cluster_expansion, temperature, order_filter
        Alloys: `Lattice`; a JSON file beside the YAML or in the package's library, or its content
        as `ExpansionData`; K; `OrderFilter` or none for an unfiltered dataset.
    parent, block
        Amorphous systems: `Parent`, `Slice`.
    bulk, miller, layers, substrate, surface_vectors, supercell, matching, slab_formula_units, \
terminations, polar_fix, region, exchanges, vacuum, atom_order, dft
        Interfaces. Mappings are by phase. ``layers`` counts the planes of atoms of the finished
        slab, both halves of a plane that ``polar_fix`` splits; ``substrate`` is the slab below,
        whose in-plane lattice the interface takes (the first of ``miller`` by default);
        ``surface_vectors`` are u, v in the surface and w out of it, as rows in the conventional
        cell; ``supercell`` is M of (u_s, v_s) = M (u, v), and stands above ``matching``, which
        says how to find one; ``terminations`` picks one of the ways to cut a slab, by the number
        under which `dismai systems check` lists it; ``polar_fix`` is one mapping or a list of
        them; ``vacuum`` is the least vacuum in Å; ``atom_order`` sorts the atoms of each species.

    Raises
    ------
    pydantic.ValidationError
        If anything does not fit; `from_file` and `from_yaml` turn it into one plain line.
    """

    name: str
    kind: Kind
    description: str = ""
    composition: Composition = Field(default_factory=dict)
    cell: Cell | None = None
    oxidation_states: dict[Symbol, float] | None = None
    allow_charged: bool = False
    cations: tuple[Symbol, ...] | None = None
    anions: tuple[Symbol, ...] | None = None
    metrics: tuple[str, ...] = ()
    reference_energy: float | None = None
    area: PositiveFloat | None = None

    lattice: Lattice | None = None
    cluster_expansion: (
        Annotated[
            Annotated[str, Tag("(file)")] | Annotated[ExpansionData, Tag("(inline)")],
            Discriminator(_expansion_tag),
        ]
        | None
    ) = None
    temperature: float | None = None
    order_filter: OrderFilter | None = None

    parent: Parent | None = None
    block: Slice | None = None

    bulk: dict[str, BulkPhase] | None = None
    miller: dict[str, tuple[int, int, int]] | None = None
    layers: dict[str, Layers] | None = None
    substrate: str | None = None
    surface_vectors: dict[str, Matrix3] | None = None
    supercell: dict[str, Matrix2] | None = None
    matching: Matching | None = None
    slab_formula_units: dict[str, PositiveInt] | None = None
    terminations: dict[str, NonNegativeInt] | None = None
    polar_fix: PolarFixes | None = None
    region: Region | None = None
    exchanges: Exchanges | None = None
    vacuum: Vacuum | None = None
    atom_order: tuple[Literal["region", "top-substrate-layer", "rest"], ...] | None = None
    dft: Dft | None = None

    dataset: DatasetSpec = DatasetSpec()
    sources: dict[str, str] = Field(default_factory=dict)

    _path: Path | None = PrivateAttr(default=None)
    _origin: str = PrivateAttr(default="")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(
                f"{name!r} is no name: use letters, digits, '.', '_' and '-', without spaces"
            )
        return name

    @model_validator(mode="after")
    def _check(self) -> SystemSpec:
        check_kind_keys(self.kind, self.__dict__, self.dataset)
        self._fill_in()
        check_charges(
            self.kind,
            self.species,
            self.composition,
            self.oxidation_states,
            self.cations,
            self.anions,
            self.allow_charged,
        )
        check_metrics(self.kind, self.metrics, self.cations)
        if self.kind == "alloy":
            alloy = self.alloy
            check_alloy(
                self.composition,
                alloy.lattice,
                alloy.temperature,
                self.dataset,
                alloy.cluster_expansion,
            )
        elif self.kind == "amorphous":
            check_amorphous(self.composition, *self.amorphous)
        else:
            charges = None if self.allow_charged else self.oxidation_states
            check_interface(self.interface, self.species, self.composition, charges, self.cell)
        check_sources(self.sources, self.model_dump(exclude={"sources"}))
        return self

    def _set(self, **values: Any) -> None:
        # The model is frozen for everyone else; this runs only while it is being made.
        self.__dict__.update(values)

    def _fill_in(self) -> None:
        """Set what follows from the kind or from other keys."""
        defaults = {
            key: block()
            for key, block in DATASET_BLOCKS[self.kind].items()
            if getattr(self.dataset, key) is None
        }
        self._set(dataset=self.dataset.model_copy(update=defaults))
        states = self.oxidation_states or {}
        if self.cations is None and states:
            self._set(cations=tuple(s for s in self.species if states.get(s, 0) > 0))
        if self.anions is None and states:
            self._set(anions=tuple(s for s in self.species if states.get(s, 0) < 0))
        if self.kind == "interface":
            assert self.miller is not None
            defaults_ = {
                "substrate": next(iter(self.miller), ""),
                "vacuum": 14.0,
                "atom_order": ("region", "top-substrate-layer", "rest"),
            }
            self._set(**{k: v for k, v in defaults_.items() if getattr(self, k) is None})
        if self.kind == "interface" and self.cell is not None:
            computed = self.cell.area
            if self.area is not None and abs(self.area - computed) > 1e-3 * computed:
                raise ValueError(
                    f"key 'area' is {self.area:g} Å^2, but the cell has {computed:.3f} Å^2: "
                    "remove area, it is computed"
                )
            self._set(area=computed)
        if not self.metrics:
            self._set(metrics=default_metrics(self.kind, self.cations))

    def __eq__(self, other: object) -> bool:
        """Compare what two specs say, not the files they came from."""
        if not isinstance(other, SystemSpec):
            return NotImplemented
        return self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_file(cls, path: str | Path) -> SystemSpec:
        """Read a spec from a YAML file.

        Parameters
        ----------
        path : path-like
            The file.

        Raises
        ------
        DismaiError
            If it cannot be read or does not fit; the line names the file, the key and the mend.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DismaiError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DismaiError(f"{path}: cannot be read as a text file ({error})") from None
        spec = cls.from_yaml(text, str(path), path=path)
        if isinstance(spec.cluster_expansion, str):
            spec.cluster_expansion_path()
        for name, phase in (spec.bulk or {}).items():
            if phase.cif is not None:
                spec.cif_path(name)
        return spec

    @classmethod
    def from_yaml(
        cls, text: str, origin: str = "system spec", path: Path | None = None
    ) -> SystemSpec:
        """Read a spec from YAML text.

        Parameters
        ----------
        text : str
            The document.
        origin : str
            What to call it in errors.
        path : Path, optional
            The file it was read from, beside which its data files are sought.

        Raises
        ------
        DismaiError
            If it does not fit.
        """
        try:
            data = load_yaml(text)
        except ValueError as error:
            raise DismaiError(f"{origin}: {error}") from None
        if not isinstance(data, dict):
            raise DismaiError(f"{origin}: holds no keys: start from `dismai systems new NAME`")
        return cls.from_dict(data, origin, path)

    @classmethod
    def from_dict(
        cls, data: dict[str, Any], origin: str = "system spec", path: Path | None = None
    ) -> SystemSpec:
        """Build a spec from plain data; `from_yaml` says what the arguments and errors are."""
        try:
            spec = cls.model_validate(data)
        except ValidationError as error:
            raise DismaiError(f"{origin}: {describe(error)}") from None
        spec._path = path.resolve() if path else None
        spec._origin = origin
        return spec

    def to_yaml(self) -> str:
        """Return the spec as YAML, with everything that was filled in; `from_yaml` reads it."""
        data = self.model_dump(mode="json", exclude_none=True)
        if not self.composition:
            del data["composition"]
        sources = data.pop("sources")
        style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100}
        text: str = yaml.safe_dump(data, default_flow_style=None, **style)
        if sources:
            text += yaml.safe_dump({"sources": sources}, default_flow_style=False, **style)
        return text

    @property
    def origin(self) -> str:
        """Where the spec came from, for messages: a file, an entry point, or empty."""
        return self._origin

    @property
    def path(self) -> Path | None:
        """The YAML file it was read from, beside which its data files lie; None without one."""
        return self._path

    @property
    def n_atoms(self) -> int | None:
        """Number of atoms in a structure; None while the composition is open."""
        return sum(self.composition.values()) or None

    @property
    def formula(self) -> str:
        """The composition in one word, in the order of the spec (``Fe154Ni51Cr51``).

        While it is open, the elements alone, joined by hyphens.
        """
        if not self.composition:
            return "-".join(self.species)
        return "".join(f"{s}{n if n > 1 else ''}" for s, n in self.composition.items())

    @property
    def species(self) -> tuple[str, ...]:
        """The elements, in the order in which a structure lists them.

        While the composition is open: as the bulk formulas name them, cations before anions.
        """
        if self.composition or self.bulk is None:
            return tuple(self.composition)
        found = dict.fromkeys(symbol for phase in self.bulk.values() for symbol in phase.formula)
        states, anions = self.oxidation_states or {}, self.anions or ()
        return tuple(sorted(found, key=lambda s: s in anions or states.get(s, 0) < 0))

    @property
    def cell_vectors(self) -> Matrix3 | None:
        """The common cell, vectors as rows in Å; None where the spec does not fix it."""
        if self.lattice is not None:
            x, y, z = (self.lattice.a * n for n in self.lattice.supercell)
            return (x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z)
        return self.cell.vectors if self.cell is not None else None

    @property
    def alloy(self) -> AlloyParts:
        """The blocks of an alloy; a DismaiError for another kind."""
        self._expect("alloy")
        assert self.lattice is not None
        assert self.cluster_expansion is not None
        assert self.temperature is not None
        return AlloyParts(
            self.lattice,
            self.cluster_expansion,
            self.temperature,
            self.order_filter,
            self.dataset.sampling or Sampling(),
        )

    @property
    def amorphous(self) -> AmorphousParts:
        """The blocks of an amorphous system; a DismaiError for another kind."""
        self._expect("amorphous")
        assert self.parent is not None
        assert self.block is not None
        return AmorphousParts(self.parent, self.block)

    @property
    def interface(self) -> InterfaceParts:
        """The blocks of an interface; a DismaiError for another kind."""
        self._expect("interface")
        values = {key: getattr(self, key) for key in InterfaceParts._fields if key != "film"}
        film = next((phase for phase in values["miller"] if phase != self.substrate), "")
        values["terminations"] = self.terminations or {}
        values["polar_fix"] = self.polar_fix or ()
        return InterfaceParts(film=film, **values)

    def _expect(self, kind: Kind) -> None:
        if self.kind != kind:
            raise DismaiError(f"system {self.name} is of kind {self.kind}, not {kind}")

    def self_contained(self) -> SystemSpec:
        """Return the same system with the content of its data files inside, for workers elsewhere.

        The cluster expansion of an alloy is read; the CIF files of an interface become cells
        with all their sites.

        Returns
        -------
        SystemSpec
            Itself if it needs no file.

        Raises
        ------
        DismaiError
            If a file is missing or does not fit.
        """
        files = {name: p for name, p in (self.bulk or {}).items() if p.cif is not None}
        if files:
            read = {
                name: bulk_from_cif(
                    self.cif_path(name), phase, f"bulk.{name}.cif", self._origin or self.name
                )
                for name, phase in files.items()
            }
            data = self.model_dump() | {"bulk": {**(self.bulk or {}), **read}}
            data["sources"] = _without_cif(self.sources)
            return type(self).from_dict(data, self._origin, self._path)
        if not isinstance(self.cluster_expansion, str):
            return self
        path = self.cluster_expansion_path()
        try:
            expansion = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DismaiError(f"{path}: cannot be read as JSON ({error})") from None
        data = self.model_dump() | {"cluster_expansion": expansion}
        return type(self).from_dict(data, self._origin, self._path)

    def cluster_expansion_path(self) -> Path:
        """Return the JSON file of the cluster expansion.

        Returns
        -------
        Path
            Beside the YAML if it is there, else in the package's library.

        Raises
        ------
        DismaiError
            If the system is no alloy, holds its cluster expansion itself, or the file is missing.
        """
        name = self.alloy.cluster_expansion
        if not isinstance(name, str):
            origin = self.origin or self.name
            raise DismaiError(f"{origin}: key 'cluster_expansion' holds the data, not a file")
        return self._data_file("cluster_expansion", name)

    def cif_path(self, phase: str) -> Path:
        """Return the CIF file of a bulk phase; a DismaiError if it has none or it is missing."""
        bulk = self.interface.bulk.get(phase)
        if bulk is not None and bulk.cif is not None:
            return self._data_file(f"bulk.{phase}.cif", bulk.cif)
        raise DismaiError(f"{self.origin or self.name}: key 'bulk.{phase}' names no CIF file")

    def _data_file(self, key: str, name: str) -> Path:
        return find_data_file(name, key, self.origin or self.name, self._path)
