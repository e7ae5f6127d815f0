"""Files of other people's programs: what is read, in which order, and what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from dismaiflow.errors import DismaiError
from dismaiflow.structures.read import natural_key, read_structures, split_extxyz

if TYPE_CHECKING:
    from collections.abc import Callable


def cell(n_nickel: int) -> Atoms:
    """Return four sites, as many of them nickel as asked for."""
    atoms = bulk("Fe", "fcc", a=3.6, cubic=True)
    atoms.symbols[:n_nickel] = "Ni"
    return atoms


def text(atoms: Atoms | list[Atoms], kind: str = "extxyz") -> str:
    """Return a file of it."""
    stream = io.BytesIO() if kind == "cif" else io.StringIO()
    ase.io.write(stream, atoms, format=kind)
    found = stream.getvalue()
    return found if isinstance(found, str) else found.decode()


def nickel(path: Path) -> list[int]:
    """Read a source and count the nickel atoms of each structure."""
    return [int((atoms.numbers == 28).sum()) for atoms in read_structures(path).structures]


FRAMES = text([cell(0), cell(1), cell(2)])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes one file and returns its path."""

    def writer(content: str | bytes, name: str = "gen.extxyz") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


# --- extended XYZ ---------------------------------------------------------------------------------


def test_frames_keep_their_order_and_places(write: Callable[..., Path]) -> None:
    """Three good frames, nothing bad."""
    found = read_structures(write(FRAMES))
    assert [found.structures.formula(i) for i in range(3)] == ["Fe4", "Fe3Ni", "Fe2Ni2"]
    assert found.indices.tolist() == [0, 1, 2]
    assert found.structures.ids == ("0", "1", "2")
    assert found.structures.cells == pytest.approx(np.tile(3.6 * np.eye(3), (3, 1, 1)))
    assert (found.bad, found.n_frames) == ([], 3)


@pytest.mark.parametrize(
    "changed",
    [
        FRAMES.replace("\n", "\r\n"),
        FRAMES.replace("\n", "\r"),
        "\ufeff" + FRAMES,
        FRAMES + "\n  \n\n",
        FRAMES.rstrip("\n"),
        FRAMES.replace('pbc="T T T"', 'pbc="T T T" note="form\x0cfeed, \x85 and \u2028"'),
        FRAMES.replace("4\nLattice", "  4 \nLattice"),
    ],
    ids=["windows", "old mac", "byte order mark", "blank end", "no newline", "controls", "spaces"],
)
def test_other_programs_and_systems_write_the_same(
    write: Callable[..., Path], changed: str
) -> None:
    """Line ends, marks and blanks change nothing."""
    found = read_structures(write(changed))
    assert found.n_frames == 3
    assert found.bad == []
    assert (
        found.structures.content_hash
        == read_structures(write(FRAMES, "x.xyz")).structures.content_hash
    )


def test_further_columns_and_words_are_no_trouble(write: Callable[..., Path]) -> None:
    """Forces, magnetic moments, strings and lists beside the positions; numbers become labels."""
    frames = [cell(0), cell(1)]
    for i, atoms in enumerate(frames):
        atoms.set_array("forces", np.full((4, 3), 0.5))
        atoms.set_array("tag_of_mine", np.array(["a", "b", "c", "d"]))
        atoms.info.update(step=i, loss=0.5 * i, ok=bool(i), config_type="gen", stress=np.eye(3))
    frames[1].info["only_here"] = 1
    # The same word with another shape in every frame.
    frames[0].info["odd"] = np.arange(3)
    frames[1].info["odd"] = 1.0
    found = read_structures(write(text(frames)))
    assert found.bad == []
    assert {k: v.tolist() for k, v in found.structures.labels.items()} == {
        "loss": [0.0, 0.5],
        "ok": [False, True],
        "step": [0, 1],
    }


def test_boundaries_need_not_be_said(write: Callable[..., Path]) -> None:
    """A lattice alone makes a periodic structure, with the default columns."""
    lattice = 'Lattice="3 0 0 0 3 0 0 0 3"'
    found = read_structures(write(f"1\n{lattice}\nFe 0.0 0.0 0.0\n")).structures
    assert found.pbc.all()
    assert found.cells[0].tolist() == (3 * np.eye(3)).tolist()


def test_numbers_that_are_none_are_kept_for_the_checks(write: Callable[..., Path]) -> None:
    """NaN and infinities are read; what they mean is judged later."""
    found = read_structures(write(FRAMES.replace("1.80000000", "nan", 1)))
    assert found.bad == []
    assert np.isnan(found.structures.positions).sum() == 1


@pytest.mark.parametrize(
    ("frame", "detail"),
    [
        ("1\n\nFe 0 0 0\n", "has no Lattice"),
        ('1\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 0 #!$\n', "could not convert"),
        ('1\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 0\n', ""),
        ('1\nLattice="3 0 0 0 3 0 0 0 3"\nXx 0 0 0\n', "unknown element or word 'Xx'"),
        ('1\nLattice="3 0 0"\nFe 0 0 0\n', "Lattice"),
        ('1\nLattice="3 0 0 0 3 0 0 0 3" Properties=pos:R:3:species:S\nFe 0 0 0\n', ""),
    ],
)
def test_a_frame_that_cannot_be_read_is_one_failure(
    write: Callable[..., Path], frame: str, detail: str
) -> None:
    """The frames around it are read, at their places."""
    found = read_structures(write(text(cell(0)) + frame + text(cell(2))))
    assert found.indices.tolist() == [0, 2]
    assert found.structures.ids == ("0", "2")
    assert [(b.index, b.reason) for b in found.bad] == [(1, "unreadable")]
    assert found.bad[0].detail.startswith("1: ")
    assert detail in found.bad[0].detail
    assert "\n" not in found.bad[0].detail


def test_a_frame_of_nothing_is_read(write: Callable[..., Path]) -> None:
    """A model may generate no atoms at all; the count is judged later."""
    empty = text(Atoms(cell=[3, 3, 3], pbc=True))
    found = read_structures(write(FRAMES + empty + FRAMES))
    assert found.n_frames == 7
    assert found.structures.n_atoms.tolist() == [4, 4, 4, 0, 4, 4, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        (bytes(64), "line 1 should be the number of atoms of frame 0"),
        ("4\n".encode("utf-16"), "is not a text file"),
        (b"hello\nworld\n", "reads 'hello'; is it extxyz"),
        (b"99999999999999999999\n\n", "line 1 should be the number of atoms"),
        (b"4\n", "is cut off: frame 0 promises 4 atoms, the file ends after 0"),
        (FRAMES.encode()[:-120], "is cut off: frame 2 promises 4 atoms, the file ends after 2"),
        (FRAMES.replace("\n4\n", "\n3\n", 1).encode(), "line 12 should be the number of atoms"),
        (FRAMES.replace("\n4\n", "\n5\n", 1).encode(), "line 14 should be the number of atoms"),
        (FRAMES.replace("\n4\n", "\nfour\n", 1).encode(), "of frame 1, but reads 'four'; the fr"),
    ],
)
def test_files_that_cannot_be_cut_into_frames_are_refused(
    write: Callable[..., Path], content: bytes, message: str
) -> None:
    """The line names the file and the place."""
    path = write(content)
    with pytest.raises(DismaiError, match=message) as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_frames_are_cut_by_their_counts() -> None:
    """Comments that look like counts do not mislead."""
    frames = split_extxyz("1\n2\nFe 0 0 0\n1\n\nNi 0 0 0", Path("a.xyz"))
    assert frames == ["1\n2\nFe 0 0 0\n", "1\n\nNi 0 0 0\n"]


# --- folders, zips and single files ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [("cif", "gen_{}.cif"), ("vasp", "POSCAR_{}"), ("vasp", "gen_{}.vasp")]
)
@pytest.mark.parametrize("windows", [False, True])
def test_folders_and_zips_come_in_natural_order(
    tmp_path: Path, kind: str, name: str, windows: bool
) -> None:
    """``gen_2`` before ``gen_10``; other files are left alone."""
    folder = tmp_path / "generated"
    folder.mkdir()
    (folder / "notes.txt").write_text("not a structure")
    with zipfile.ZipFile(tmp_path / "generated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, n_nickel in [(10, 3), (1, 1), (2, 2), (0, 0)]:
            content = text(cell(n_nickel), kind)
            if windows:
                content = content.replace("\n", "\r\n")
            (folder / name.format(number)).write_bytes(content.encode())
            archive.writestr("generated/" + name.format(number), content)
        archive.writestr("generated/notes.txt", "not a structure")
    assert nickel(folder) == [0, 1, 2, 3]
    assert nickel(tmp_path / "generated.zip") == [0, 1, 2, 3]
    ids = read_structures(folder).structures.ids
    assert ids == tuple(name.format(i) for i in (0, 1, 2, 10))


def test_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    """Subfolders count in natural order too; what systems and editors hide does not."""
    for place, n_nickel in [("run_10/1.cif", 3), ("run_9/2.cif", 2), ("run_9/1.cif", 1)]:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text(cell(n_nickel), "cif"))
    for hidden in (".ipynb_checkpoints/1.cif", "run_9/._1.cif", "__MACOSX/run_9/1.cif"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / hidden).write_bytes(b"\x00\x05\x16\x07")
    assert nickel(tmp_path) == [1, 2, 3]
    assert read_structures(tmp_path).structures.ids[2] == "run_10/1.cif"


def test_a_bad_file_of_a_folder_is_one_failure(tmp_path: Path) -> None:
    """Empty, binary, cut off, or with more than one structure: counted, at its place."""
    good = text(cell(1), "cif")
    contents = {
        "1.cif": good.encode(),
        "2.cif": b"",
        "3.cif": b"\xff\xfe\x00binary",
        "4.cif": good[:60].encode(),
        "5.cif": text([cell(1), cell(2)], "cif").encode(),
        "6.cif": good.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = read_structures(tmp_path)
    assert found.indices.tolist() == [0, 5]
    assert [b.index for b in found.bad] == [1, 2, 3, 4]
    assert {b.reason for b in found.bad} == {"unreadable"}
    assert "holds 2 structures instead of one" in found.bad[3].detail
    assert all(b.detail.startswith(f"{b.index + 1}.cif: ") for b in found.bad)


def test_single_files_are_sets_of_one(tmp_path: Path) -> None:
    """A CIF or a POSCAR by itself."""
    for name, kind in [("one.cif", "cif"), ("CONTCAR", "vasp"), ("a.POSCAR", "vasp")]:
        (tmp_path / name).write_text(text(cell(2), kind))
        assert nickel(tmp_path / name) == [2]


def test_zips_write_nothing_outside(tmp_path: Path) -> None:
    """Names that point elsewhere, absolute ones and repeated ones are just names."""
    path = tmp_path / "in" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped_1.cif", text(cell(1), "cif"))
        archive.writestr("/escaped_2.cif", text(cell(2), "cif"))
        archive.writestr("escaped_1.cif", text(cell(3), "cif"))
    assert sorted(nickel(path)) == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.zip", "in"]
    assert not Path("/escaped_2.cif").exists()


def test_a_damaged_member_of_a_zip_is_one_failure(tmp_path: Path) -> None:
    """The check sum of each member is looked at."""
    path = tmp_path / "gen.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.cif", text(cell(i), "cif"))
    data = bytearray(path.read_bytes())
    data[data.index(b"Ni")] = ord("X")
    path.write_bytes(data)
    found = read_structures(path)
    assert found.indices.tolist() == [0, 2]
    assert [(b.index, b.reason) for b in found.bad] == [(1, "unreadable")]


def _cut_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.cif", text(cell(1), "cif"))
    path.write_bytes(path.read_bytes()[:-30])


def _zip_of_nothing(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.extxyz", lambda _: None, "no such file or folder"),
        ("empty", lambda path: path.mkdir(), "holds no .cif, .vasp or POSCAR files"),
        ("cut.zip", _cut_zip, "not a readable zip file"),
        ("not.zip", lambda path: path.write_text("hello"), "not a readable zip file"),
        ("nothing.zip", _zip_of_nothing, "holds no .cif, .vasp or POSCAR files"),
        ("gen.json", lambda path: path.write_text("{}"), "unknown kind of file; give .extxyz"),
    ],
)
def test_sources_without_structures_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    """One line that begins with the path."""
    path = tmp_path / name
    make(path)
    with pytest.raises(DismaiError, match=message) as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_people_count_like_this() -> None:
    """Numbers inside names are numbers, whatever script they are written in."""
    names = ["gen_10", "gen_2", "gen_1b", "gen_1a", "gen", "10", "9", "gen_²", "gen_٣"]
    ordered = ["9", "10", "gen", "gen_1a", "gen_1b", "gen_2", "gen_٣", "gen_10"]
    assert [n for n in sorted(names, key=natural_key) if n != "gen_²"] == ordered
