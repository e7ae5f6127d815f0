"""The Makers of VASP as jobs: powerups, chains, folders and failures, with a stand-in for VASP."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atomate2.vasp.jobs.base import BaseVaspMaker
from atomate2.vasp.powerups import (
    update_user_incar_settings,
    update_user_kpoints_settings,
    update_user_potcar_settings,
    update_vasp_custodian_handlers,
)
from custodian.vasp.handlers import VaspErrorHandler
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Kpoints

from dismaiflow.dft import running
from dismaiflow.dft.check import check_worker
from dismaiflow.dft.makers import (
    MAKERS,
    BulkRelaxMaker,
    InterfaceRelaxMaker,
    Rehearsal,
    StaticMaker,
    TwoStageRelaxMaker,
)
from dismaiflow.dft.schemas import RunDoc, StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.store.blobs import put_blob
from dismaiflow.store.frames import get_frames
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system


@pytest.fixture
def store() -> JobStore:
    made = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    made.connect()
    return made


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work where there is a file already, so that no run takes this folder for its own."""
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note").touch()
    return tmp_path / "scratch"


def salt() -> Structure:
    """LiCl, its elements mixed up; the atoms 1, 2 and 5 are off their sites and free to move."""
    symbols = ["Cl", "Li", "Cl", "Li", "Li", "Cl", "Cl", "Li"]
    sites = np.array(
        [
            [0.5, 0.5, 0.5],
            [0, 0, 0],
            [0.5, 0, 0],
            [0, 0.5, 0.5],
            [0.5, 0, 0.5],
            [0, 0.5, 0],
            [0, 0, 0.5],
            [0.5, 0.5, 0],
        ]
    )
    free = [1, 2, 5]
    sites[free] += np.array([[0.03, 0.01, 0], [0, 0.02, 0.02], [0.01, 0, -0.03]])
    structure = Structure(Lattice.cubic(5.1457), symbols, sites)
    flags = [[i in free] * 3 for i in range(8)]
    structure.add_site_property("selective_dynamics", flags)
    return structure


def run(flow: Any, store: JobStore) -> dict[str, Any]:
    """Run a flow; return outputs by the name of the job."""
    jobs = flow.jobs if isinstance(flow, Flow) else [flow]
    done = run_locally(flow, store=store, raise_immediately=True, log=False)
    return {job.name: done[job.uuid][1].output for job in jobs}


def incar_of(job: Any) -> dict[str, Any]:
    return job.maker.input_set_generator.user_incar_settings


def test_powerups_reach_makers_and_flows() -> None:
    maker = TwoStageRelaxMaker.from_spec(get_system("tiny-li2o-licl"))
    mended = update_user_incar_settings(maker, {"NCORE": 4})
    assert mended.region_maker.input_set_generator.user_incar_settings == {"NCORE": 4}
    assert mended.interface_maker.input_set_generator.user_incar_settings == {"NCORE": 4}
    flow = maker.make(salt(), parent="p")
    flow = update_user_incar_settings(flow, {"ENCUT": 300, "EDIFFG": None})
    flow = update_user_kpoints_settings(flow, Kpoints.gamma_automatic((2, 2, 1)))
    flow = update_user_potcar_settings(flow, {"Li": "Li"})
    flow = update_vasp_custodian_handlers(flow, [VaspErrorHandler()])
    assert [job.name for job in flow.jobs] == ["region relax p", "interface relax p"]
    for job in flow.jobs:
        assert isinstance(job.maker, BaseVaspMaker)
        (handler,) = job.maker.run_vasp_kwargs["handlers"]
        assert isinstance(handler, VaspErrorHandler)
        inputs = job.maker.input_set_generator.get_input_set(salt(), potcar_spec=True)
        assert inputs["INCAR"]["ENCUT"] == 300
        assert "EDIFFG" not in inputs["INCAR"]
        assert inputs["KPOINTS"].kpts == [(2, 2, 1)]
        assert inputs["POTCAR.spec"].split() == ["Li", "Cl"]
    first, second = (job.maker.input_set_generator for job in flow.jobs)
    assert (first.region_only, second.region_only) == (True, False)


@pytest.mark.parametrize("stage", list(MAKERS))
def test_makers_survive_a_document(stage: Any) -> None:
    system = {"alloy-cell": "alloy-300K-wide", "full-cell": "li2o-li-110"}.get(stage, "lsc-lco")
    options = {"rehearsal": Rehearsal("toy", ("zbrent@3",)), "wall_time": 3600}
    if stage == "full-cell":
        options["fixed_c"] = True
    for maker in (MAKERS[stage](), MAKERS[stage].from_spec(get_system(system), **options)):
        text = json.dumps(maker, cls=MontyEncoder)
        assert json.loads(text, cls=MontyDecoder) == maker
        assert len(text) < 6000
        job = maker.make(Structure(Lattice.cubic(4), ["Co"], [[0, 0, 0]]))
        assert job.config.manager_config["_category"] == "vasp"
        assert job.name == f"{maker.name} Co"


def test_bulk_maker_has_the_mesh_of_its_phase() -> None:
    maker = BulkRelaxMaker.from_spec(get_system("lsc-lco"), "LSC")
    assert maker.name == "bulk relax LSC"
    mesh = maker.input_set_generator.config_dict["KPOINTS"]
    assert mesh == {"style": "monkhorst-pack", "grid": [6, 4, 6]}


def test_both_stages_one_after_the_other(store: JobStore, scratch: Path) -> None:
    start = salt()
    maker = TwoStageRelaxMaker.from_spec(get_system("tiny-li2o-licl"), rehearsal=Rehearsal("toy"))
    runs = run(maker.make(start, parent="p0"), store)
    first, second = runs["region relax p0"], runs["interface relax p0"]
    assert (first.stage, first.status, first.n_steps) == ("region", "converged", 50)
    assert (second.stage, second.status) == ("all", "converged")
    assert second.max_force <= 0.1
    assert {first.parent, second.parent} == {"p0"}
    # Atoms come back in their order; only the free ones have moved in the first stage.
    assert first.structure.species == second.structure.species == start.species
    moved = np.abs(first.structure.frac_coords - start.frac_coords).max(axis=1) > 1e-6
    assert np.flatnonzero(moved).tolist() == [1, 2, 5]
    assert second.initial_energy == pytest.approx(first.energy, abs=1e-4)
    assert "selective_dynamics" not in second.structure.site_properties
    # The frames are in the store: the 5th step, every 10th after it, and the last.
    frames = get_frames(store, first.frames)
    assert frames.steps.tolist() == [5, 15, 25, 35, 45, 50]
    assert set(frames.parents) == {"p0"}
    assert first.label.rehearsal
    assert frames.structures.formula(0) == "Cl4Li4"
    assert first.task["input"]["incar"]["ENCUT"] == 374.3
    assert len(json.dumps(first.task)) < 300_000
    folders = {Path(doc.dir_name) for doc in (first, second)}
    assert len(folders) == 2
    assert {folder.parent for folder in folders} == {scratch / "dft"}
    assert all((folder / "vasprun.xml.gz").is_file() for folder in folders)


def test_structures_of_the_store_and_a_run_that_died(store: JobStore) -> None:
    atoms = salt().to_ase_atoms()
    blob = put_blob(store, StructureSet.from_atoms([atoms, atoms]).to_bytes(), "structures")
    stored = StoredStructure(blob=blob, place=1, parent="p1", free=(1, 2, 5))
    maker = TwoStageRelaxMaker.from_spec(
        get_system("tiny-li2o-licl"), rehearsal=Rehearsal("toy", ("truncated@3",))
    )
    (first, second) = run(maker.make(stored), store).values()
    assert first.status == "not_converged"
    assert first.reason.startswith("ValidationError: Validation failed: VasprunXMLValidator; ")
    assert (first.parent, first.n_steps, first.task) == ("p1", 2, None)
    assert first.structure.species == salt().species
    # Two steps of it are better than none to go on from.
    assert second.initial_energy == pytest.approx(first.energy, abs=1e-4)


@pytest.mark.parametrize("status", ["failed", "exploded"])
def test_nothing_is_run_after_a_dead_end(status: Any, store: JobStore) -> None:
    dead = RunDoc(status=status, reason="it burnt", stage="region", parent="p2", structure=salt())
    job = InterfaceRelaxMaker().make(dead)
    assert job.name == "interface relax p2"
    (passed,) = run(job, store).values()
    assert (passed.status, passed.stage, passed.parent) == ("failed", "all", "p2")
    assert passed.reason == f"not run: stage region ended as {status} (it burnt)"
    assert passed.n_frames == 0


def test_vasp_that_is_not_there_fails_the_job(store: JobStore, scratch: Path) -> None:
    maker = StaticMaker(run_vasp_kwargs={"vasp_cmd": "sh vasp_nowhere"})
    with pytest.raises(DismaiError, match=r"'vasp_nowhere' of the command 'sh vasp_nowhere' is"):
        run(maker.make(salt()), store)
    assert not scratch.exists()


def test_a_program_that_writes_nothing_fails_the_job(store: JobStore, tmp_path: Path) -> None:
    broken = tmp_path / "vasp_broken"
    broken.write_text("#!/bin/sh\necho 'libmkl.so: cannot open' >&2\nexit 127\n")
    broken.chmod(0o755)
    maker = StaticMaker(
        run_vasp_kwargs={
            "vasp_cmd": str(broken),
            "vasp_gamma_cmd": str(broken),
            "custodian_kwargs": {"polling_time_step": 0.1},
        },
        write_input_set_kwargs={"potcar_spec": True},
    )
    with pytest.raises(DismaiError, match=r"VASP wrote nothing in .*libmkl.so: cannot open"):
        run(maker.make(salt()), store)


def test_an_empty_folder_or_that_of_a_launch_is_run_in(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = tmp_path / "launcher"
    launch.mkdir()
    (launch / "FW.json").touch()
    monkeypatch.chdir(launch)
    maker = StaticMaker(rehearsal=Rehearsal("toy"))
    dirs: list[Path] = []
    for _ in range(2):
        job = maker.make(salt(), dirs[0] if dirs else "/nowhere")
        (document,) = run(job, store).values()
        assert (document.status, document.n_frames, document.n_steps) == ("converged", 1, 1)
        dirs.append(Path(document.dir_name))
        (dirs[0] / "WAVECAR").write_bytes(b"waves")
    # The second finds the files of the first there.
    assert dirs[0] == launch
    assert dirs[1].parent == tmp_path / "scratch" / "dft"
    assert gzip.decompress((dirs[1] / "WAVECAR.gz").read_bytes()) == b"waves"


def test_vasp_runs_in_the_folder_of_rlaunch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our FW_config.yaml writes no FW.json; qlaunch leaves its script there."""
    launch = tmp_path / "launcher_2026-11-23-07-55-51-121252"
    launch.mkdir()
    (launch / "FW_submit.script").touch()
    monkeypatch.chdir(launch)
    assert running._own_folder() == launch
    (launch / "INCAR").touch()
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    assert running._own_folder().parent == tmp_path / "scratch" / "dft"


def stub_potcar(folder: Path, symbol: str, valence: float) -> None:
    """Write what pymatgen takes for a POTCAR; no licensed content."""
    element = symbol.split("_")[0]
    place = folder / "POT_GGA_PAW_PBE_54" / symbol
    place.mkdir(parents=True)
    (place / "POTCAR").write_text(
        f"  PAW_PBE {symbol} 01Jan2000\n   {valence:.8f}\n parameters from PSCTR are:\n"
        f"   VRHFIN ={element}: none\n   LEXCH  = PE\n   EATOM  =   1.0000 eV,    0.1 Ry\n\n"
        f"   TITEL  = PAW_PBE {symbol} 01Jan2000\n   LULTRA =        F    use ultrasoft PP ?\n"
        f"   POMASS =   10.000; ZVAL   =   {valence:.3f}    mass and valenz\n"
        "   ENMAX  =  300.000; ENMIN  =  225.000 eV\nEND of PSCTR-controll parameters\n"
        " local part\n   1.0\nEnd of Dataset\n"
    )


@pytest.mark.filterwarnings("ignore")
def test_potentials_with_other_valence_electrons_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "potentials"))
    spec = get_system("tiny-li2o-licl")

    def finding() -> Any:
        return next(f for f in check_worker(spec, "sh vasp_nowhere") if f.name == "POTCAR")

    for symbol, valence in (("Li_sv", 3), ("Cl", 7)):
        stub_potcar(tmp_path / "potentials", symbol, valence)
    assert finding().state == "fault"
    assert "no usable POTCAR O of PBE_54" in finding().line
    stub_potcar(tmp_path / "potentials", "O", 6)
    assert (finding().state, finding().line) == ("ok", "Li_sv, Cl, O of PBE_54")
    (tmp_path / "potentials/POT_GGA_PAW_PBE_54/Li_sv/POTCAR").unlink()
    (tmp_path / "potentials/POT_GGA_PAW_PBE_54/Li_sv").rmdir()
    stub_potcar(tmp_path / "potentials", "Li_sv", 1)
    assert "Li_sv of PBE_54 has 1 valence electrons, but the paper's has 3" in finding().line
