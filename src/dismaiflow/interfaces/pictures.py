"""Pictures of slabs and interfaces as PNG files, seen from the side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Radius in Å with which an atom of a covalent radius of 1 Å is drawn. Others go by its square
#: root, so that large cations do not hide the anions.
_SIZE = 0.72

#: Inches per Å, and the room around the atoms in Å.
_SCALE, _MARGIN = 0.14, 1.5


def draw_side_views(
    atoms: Atoms,
    path: Path,
    title: str,
    marked: NDArray[np.bool_] | None = None,
    heights: Sequence[tuple[float, str]] = (),
) -> None:
    """Draw a structure seen along the first and along the second in-plane vector.

    Parameters
    ----------
    atoms : Atoms
        Its third cell vector along z; drawn as it is, without periodic images.
    path : Path
        The PNG file to write.
    title : str
        Heading.
    marked : ndarray of bool, shape (n_atoms,), optional
        Atoms to draw with a dark rim, such as those of the region; the others get a pale one.
    heights : sequence of (float, str)
        Heights in Å at which a line with a label is drawn.

    Raises
    ------
    DismaiError
        If the file cannot be written.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views = [_view(atoms, axis) for axis in (1, 0)]
    widths = [np.ptp(across) + 2 * _MARGIN for across, _ in views]
    top = max(float(atoms.positions[:, 2].max()), *(z for z, _ in heights), 0.0)
    size = (_SCALE * sum(widths) + 2.6, max(_SCALE * (top + 2 * _MARGIN) + 1.0, 2.4))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    rims = np.zeros(len(atoms), dtype=bool) if marked is None else marked
    for panel, (across, depth), name in zip(panels, views, ("b", "a"), strict=True):
        _draw(panel, atoms, across, depth, rims)
        panel.set_title(f"along {name}", fontsize=9)
        panel.set_xlabel("Å", fontsize=8)
        for height, _ in heights:
            panel.axhline(height, color="0.35", linewidth=0.8, linestyle="--", zorder=0)
    panels[0].set_ylabel("height, Å", fontsize=8)
    for height, label in heights:
        panels[1].annotate(
            label,
            (1.02, height),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            va="center",
            annotation_clip=False,
        )
    _legend(figure, atoms)
    figure.suptitle(title, fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    write_bytes(path, stream.getvalue())


def _view(atoms: Atoms, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each atom lies to the right and to the back, seen along a cell vector."""
    x, y = atoms.cell.array[axis, :2] / np.linalg.norm(atoms.cell.array[axis, :2])
    across = atoms.positions[:, :2] @ [y, -x]
    return across - across.min(), atoms.positions[:, :2] @ [x, y]


def _draw(
    panel: Axes,
    atoms: Atoms,
    across: NDArray[np.float64],
    depth: NDArray[np.float64],
    rims: NDArray[np.bool_],
) -> None:
    """Draw the atoms as discs, those in front last."""
    from matplotlib.collections import EllipseCollection

    order = np.argsort(-depth, kind="stable")
    diameters = 2 * _SIZE * np.sqrt(covalent_radii[atoms.numbers[order]])
    panel.add_collection(
        EllipseCollection(
            diameters,
            diameters,
            np.zeros(len(order)),
            units="xy",
            offsets=np.column_stack([across, atoms.positions[:, 2]])[order],
            offset_transform=panel.transData,
            facecolors=jmol_colors[atoms.numbers[order]],
            edgecolors=[("0.0" if rim else "0.65") for rim in rims[order]],
            linewidths=np.where(rims[order], 1.1, 0.4),
        )
    )
    panel.set_xlim(across.min() - _MARGIN, across.max() + _MARGIN)
    panel.set_ylim(
        min(atoms.positions[:, 2].min(), 0.0) - _MARGIN, atoms.positions[:, 2].max() + _MARGIN
    )
    panel.set_aspect("equal")
    panel.tick_params(labelsize=8)
    for edge in ("top", "right"):
        panel.spines[edge].set_visible(False)


def _legend(figure: Figure, atoms: Atoms) -> None:
    """Name the colours."""
    from matplotlib.lines import Line2D

    dots = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=7,
            markerfacecolor=jmol_colors[number],
            markeredgecolor="0.4",
            label=chemical_symbols[number],
        )
        for number in dict.fromkeys(atoms.numbers.tolist())
    ]
    figure.legend(handles=dots, loc="outside lower center", ncols=len(dots), fontsize=8)
