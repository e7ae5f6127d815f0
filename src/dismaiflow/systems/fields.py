"""What every block of a system spec shares: strict keys, elements, cells, and plain errors."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dismaiflow.errors import short, suggestion

try:  # the C parser is ten times faster, and not in every build of PyYAML
    from yaml import CSafeLoader as _YamlLoader
except ImportError:  # pragma: no cover
    from yaml import SafeLoader as _YamlLoader  # type: ignore[assignment]

#: Symbols of the elements 1 to 118. Kept here because importing ase.data or pymatgen for them
#: would take longer than the whole command.
ELEMENTS: tuple[str, ...] = tuple(
    """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br
    Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho
    Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es
    Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """.split()  # noqa: SIM905 (118 quoted strings read worse)
)
_ELEMENT_SET = frozenset(ELEMENTS)


class Block(BaseModel):
    """A mapping of a spec in which only known keys may stand. Immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        # Pydantic would refuse them too, without naming the nearest known key.
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "key '{key}' is not known: {mend}",
                        {"key": str(key), "mend": suggestion(key, cls.model_fields)},
                    )
        return data


def _check_symbol(symbol: str) -> str:
    if symbol in _ELEMENT_SET:
        return symbol
    guess = symbol.strip().capitalize()
    mend = f"did you mean {guess}?" if guess in _ELEMENT_SET else "use a symbol such as Fe"
    raise ValueError(f"unknown element {symbol!r}: {mend}")


def split_pair(pair: str) -> tuple[str, str]:
    """Return the two symbols of a pair written as ``Li-Co``.

    Raises
    ------
    ValueError
        If it is not two elements joined by a hyphen.
    """
    first, hyphen, second = pair.partition("-")
    if not hyphen:
        raise ValueError(f"{pair!r} is not a pair of elements: write it as Li-Co")
    return _check_symbol(first.strip()), _check_symbol(second.strip())


def _parse_fraction(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{value!r} is not a number: write 1/3 or 0.3333") from None
    return value


#: A chemical symbol.
Symbol = Annotated[str, AfterValidator(_check_symbol)]
#: Two chemical symbols joined by a hyphen, as written.
Pair = Annotated[str, AfterValidator(lambda pair: "-".join(split_pair(pair)))]
#: A number; a text such as "-1/3" is read as a fraction.
Number = Annotated[float, BeforeValidator(_parse_fraction)]
#: Atoms of each element, in the order in which a structure lists them.
Composition = dict[Symbol, PositiveInt]
Vector3 = tuple[Number, Number, Number]
Matrix3 = tuple[Vector3, Vector3, Vector3]


class Cell(Block):
    """A unit cell, given by its vectors or by lengths and angles.

    Parameters
    ----------
    matrix : 3 x 3 float, optional
        Cell vectors as rows, Å. A plain 3 x 3 list in place of the mapping means this.
    lengths : 3 float, optional
        a, b, c in Å.
    angles : 3 float, optional
        alpha, beta, gamma in degrees; 90 each where only lengths are given.
    """

    matrix: Matrix3 | None = None
    lengths: Vector3 | None = None
    angles: Vector3 | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, data: Any) -> Any:
        return {"matrix": data} if isinstance(data, list | tuple) else data

    @model_validator(mode="after")
    def _check(self) -> Cell:
        if (self.matrix is None) == (self.lengths is None):
            raise ValueError("give either the 3 x 3 matrix or lengths and angles")
        if self.matrix is not None and self.angles is not None:
            raise ValueError("angles go with lengths: remove them beside a matrix")
        if self.lengths is not None and min(self.lengths) <= 0:
            raise ValueError("lengths must be greater than 0 Å")
        if self.angles is not None and not all(0 < angle < 180 for angle in self.angles):
            raise ValueError("angles must lie between 0 and 180 degrees")
        if self._unit_volume_squared() <= 0 or self.volume <= 1e-9:
            raise ValueError("the vectors do not span a right-handed volume: check their signs")
        return self

    def _unit_volume_squared(self) -> float:
        """Return the squared volume of the cell of unit lengths; 1 for a matrix."""
        if self.lengths is None:
            return 1.0
        ca, cb, cg = (math.cos(math.radians(angle)) for angle in self.angles or (90.0,) * 3)
        return 1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg

    @property
    def vectors(self) -> Matrix3:
        """Cell vectors as rows, Å; from lengths and angles with a along x and b in the xy plane."""
        if self.matrix is not None:
            return self.matrix
        assert self.lengths is not None
        a, b, c = self.lengths
        ca, cb, cg = (_cosine(angle) for angle in self.angles or (90.0, 90.0, 90.0))
        sg = math.sqrt(1 - cg * cg)
        y = (ca - cb * cg) / sg
        z = math.sqrt(1 - cb * cb - y * y)
        return (a, 0.0, 0.0), (b * cg, b * sg, 0.0), (c * cb, c * y, c * z)

    @property
    def volume(self) -> float:
        """Signed volume in Å^3."""
        a, b, c = self.vectors
        return sum(x * y for x, y in zip(_cross(a, b), c, strict=True))

    @property
    def area(self) -> float:
        """Area of the face spanned by the first two vectors, Å^2."""
        a, b, _ = self.vectors
        return math.hypot(*_cross(a, b))


def _cosine(degrees: float) -> float:
    # Exactly 0 at a right angle, so that orthogonal cells have no 1e-16 off the diagonal.
    return 0.0 if degrees == 90 else math.cos(math.radians(degrees))


def _cross(u: Vector3, v: Vector3) -> Vector3:
    return (
        u[1] * v[2] - u[2] * v[1],
        u[2] * v[0] - u[0] * v[2],
        u[0] * v[1] - u[1] * v[0],
    )


class _UniqueKeyLoader(_YamlLoader):
    """A safe YAML loader that refuses a key given twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping after checking that its keys differ."""
        seen: set[Any] = set()
        for key_node, _ in getattr(node, "value", ()):
            key = getattr(key_node, "value", None)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key '{key}' is given twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_yaml(text: str) -> Any:
    """Parse YAML with plain types only.

    Parameters
    ----------
    text : str
        The document.

    Raises
    ------
    ValueError
        If it is not YAML, in one line with the place.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or 'not valid YAML'}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def describe(error: ValidationError) -> str:
    """Return the first problem of a validation in one line: the key, what is wrong, the mend.

    Parameters
    ----------
    error : pydantic.ValidationError
        What the models of this room raise.

    Returns
    -------
    str
        Misspelt keys come first, because what they cause ("missing") is no help.
    """
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: p["type"] != "unknown_key")
    kind, context = problem["type"], problem.get("ctx", {})
    key = ""
    for part in problem["loc"]:
        # Square brackets mark the key of a mapping, round ones the member of a union.
        if isinstance(part, int):
            key += f"[{part}]"
        elif part[:1] not in "[(":
            key += f".{part}" if key else part
    if kind == "unknown_key":
        full = f"{key}.{context['key']}" if key else context["key"]
        line = f"key '{full}' is not known: {context['mend']}"
    elif kind == "missing":
        line = f"key '{key}' is missing: add it"
    elif kind == "value_error":
        line = f"key '{key}': {context['error']}" if key else str(context["error"])
    elif kind in {"model_type", "dict_type", "model_attributes_type"}:
        line = f"key '{key}' needs a mapping (name: value), got {short(problem['input'])}"
    else:
        rule = problem["msg"].replace("Input should", "should", 1)
        line = f"key '{key}' {rule}, got {short(problem['input'])}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(line.split()) + more
