"""CHGNet and matgl: batched as one by one, and weights that are refused."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from tests.needed import needs

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential
from dismaiflow.systems.registry import get_system

torch = pytest.importorskip("torch")

pytestmark = [
    needs("matgl", "chgnet"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ELEMENTS = ("Li", "Co", "Sc", "O", "Cl")


def save_model(folder, kind="M3GNet", potential=True, scale=500.0, **kwargs):
    """Save an untrained model; scaled to forces that matter."""
    import matgl.models
    from matgl.apps.pes import Potential

    torch.manual_seed(0)
    if kind == "M3GNet":
        kwargs = {
            "is_intensive": False,
            "units": 16,
            "nblocks": 2,
            "dim_node_embedding": 16,
            "dim_edge_embedding": 16,
            **kwargs,
        }
    model = getattr(matgl.models, kind)(element_types=ELEMENTS, **kwargs)
    if potential:
        references = [-1.9, -7.1, -6.3, -4.9, -1.8]
        model = Potential(model, data_std=scale, element_refs=references)
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("matgl") / "m3gnet_small")


@pytest.fixture(scope="module")
def structures():
    """Rattled structures of 2 to 46 atoms: a random interface, and bulk cells."""
    from dismaiflow.interfaces.generator import RandomInterfaces
    from dismaiflow.interfaces.system import InterfaceSystem

    system = InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))
    maker = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    made = [*maker.generate(range(1), seed=1).structures]
    made.append(bulk("LiCl", "rocksalt", a=5.13))
    made.append(bulk("LiCl", "rocksalt", a=5.13).repeat((1, 2, 3)))
    for seed, atoms in enumerate(made):
        atoms.rattle(0.1, seed=seed)
    return made


def compare(potential, structures):
    """Check the batch against one by one, with the tolerances that are promised."""
    calculator, evaluator = potential.calculator(), potential.evaluator()
    found = evaluator.evaluate(structures)
    assert len(found) == len(structures)
    largest = 0.0
    for atoms, evaluation in zip(structures, found, strict=True):
        alone = atoms.copy()
        alone.calc = calculator
        energy = alone.get_potential_energy()
        assert evaluation.energy == pytest.approx(energy, abs=1e-5 * len(atoms))
        assert evaluation.forces == pytest.approx(alone.get_forces(), abs=1e-4)
        largest = max(largest, np.abs(evaluation.forces).max())
    assert largest > 0.05
    return found


def test_m3gnet_batched_as_one_by_one(folder, structures):
    assert len(structures[0]) > 40
    compare(open_potential(f"matgl:{folder}", ["Li", "Cl"]), structures)


def test_chgnet_batched_as_one_by_one(structures):
    compare(open_potential("chgnet", ["Li", "Cl", "O"]), structures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chgnet", "matgl"])
def test_slabs_of_264_atoms(name, folder):
    from tests.interfaces.hosts import lsc_lco

    made = [*lsc_lco().generate(range(2), seed=4).structures, bulk("LiCl", "rocksalt", a=5.13)]
    assert len(made[0]) == 264
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, seed=seed)
    compare(open_potential(name if name == "chgnet" else f"matgl:{folder}", ELEMENTS), made)


def test_chgnet_is_that_of_its_package():
    """Its own loader, which unpickles, and its stress."""
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    reference = CHGNet.load(use_device="cpu", verbose=False)
    calculator = open_potential("chgnet").calculator()
    # The second has no bonds that are short enough for angles.
    for atoms in (bulk("LiCl", "rocksalt", a=5.0), bulk("CsI", "cesiumchloride", a=4.6)):
        atoms.rattle(0.1, seed=3)
        expected = reference.predict_structure(AseAtomsAdaptor.get_structure(atoms), task="efs")
        atoms.calc = calculator
        assert atoms.get_potential_energy() / 2 == pytest.approx(float(expected["e"]), abs=1e-6)
        assert atoms.get_forces() == pytest.approx(expected["f"], abs=1e-5)
        # GPa there
        assert atoms.get_stress(voigt=False) * 160.21766 == pytest.approx(expected["s"], abs=1e-4)


def test_the_graph_of_chgnet_is_that_of_its_package(structures):
    """The same bonds and angles in another order, also in a cell that is its own neighbour."""
    from chgnet.graph import CrystalGraphConverter
    from pymatgen.io.ase import AseAtomsAdaptor

    from dismaiflow.potentials.chgnet_graph import crystal_graph

    convert = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)
    outside = bulk("Cu", "fcc", a=3.6)
    outside.positions += 7 * outside.cell[1]

    def bonds(graph):
        """Both ends and the image of each directed bond."""
        return torch.column_stack([graph.atom_graph, graph.neighbor_image]).long().tolist()

    def angles(graph):
        named = bonds(graph)
        rows = graph.bond_graph.tolist()
        assert all(graph.directed2undirected[row[k + 1]] == row[k] for row in rows for k in (1, 3))
        return sorted((row[0], named[row[2]], named[row[4]]) for row in rows)

    for atoms in [structures[1], structures[2], outside]:
        mine = crystal_graph(atoms, 6, 3)
        theirs = convert(AseAtomsAdaptor.get_structure(atoms))
        assert sorted(bonds(mine)) == sorted(bonds(theirs))
        assert angles(mine) == angles(theirs)
        named = bonds(mine)
        for bond, partner in enumerate(mine.directed2undirected.tolist()):
            begin, end, *image = named[int(mine.undirected2directed[partner])]
            back = [end, begin, *(-x for x in image)]
            assert named[bond] in ([begin, end, *image], back)
        assert torch.unique(mine.directed2undirected, return_counts=True)[1].unique() == 2


def test_matgl_is_that_of_its_package(folder):
    import matgl
    from matgl.ext.ase import PESCalculator

    atoms = bulk("LiCl", "rocksalt", a=5.0).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=3)
    other = atoms.copy()
    other.calc = PESCalculator(matgl.load_model(folder), stress_unit="eV/A3", use_voigt=True)
    atoms.calc = open_potential(f"matgl:{folder}").calculator()
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)
    assert atoms.get_forces() == pytest.approx(other.get_forces(), abs=1e-5)
    assert atoms.get_stress() == pytest.approx(other.get_stress(), abs=1e-6)


def test_small_batches_give_the_same(folder, structures):
    potential = open_potential(f"matgl:{folder}")
    evaluator = potential.evaluator()
    expected = evaluator.evaluate(structures)
    evaluator._batches.most_edges = 1
    for one, other in zip(evaluator.evaluate(structures), expected, strict=True):
        assert one.forces == pytest.approx(other.forces, abs=1e-4)
    assert evaluator.evaluate([]) == []


@pytest.mark.parametrize("name", ["chgnet", "matgl"])
def test_open_directions_and_foreign_atoms(name, folder):
    potential = open_potential(name if name == "chgnet" else f"matgl:{folder}")
    atoms = bulk("LiCl", "rocksalt", a=5.13)
    atoms.pbc = [True, True, False]
    calculator, evaluator = potential.calculator(), potential.evaluator()
    atoms.calc = calculator
    with pytest.raises(DismaiError, match="not periodic in all directions"):
        atoms.get_potential_energy()
    with pytest.raises(DismaiError, match="not periodic in all directions"):
        evaluator.evaluate([atoms])


def test_chgnet_refuses_atoms_without_neighbours():
    atoms = bulk("Li", "sc", a=20.0)
    atoms.calc = open_potential("chgnet").calculator()
    with pytest.raises(ValueError, match="isolated"):
        atoms.get_forces()


def test_a_device_that_is_not_there(folder):
    potential = open_potential(f"matgl:{folder}")
    with pytest.raises(DismaiError, match="use cpu or cuda"):
        potential.evaluator("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(DismaiError, match="no CUDA device here"):
            potential.evaluator("cuda")


def test_cards(folder, tmp_path):
    chgnet = open_potential("chgnet")
    # The periodic table of the training data has 89 elements (Nat. Mach. Intell. 5, 1031).
    assert len(chgnet.card.elements) == 89
    assert chgnet.files == {}
    found = open_potential(f"matgl:{folder}/")
    assert found.card.name == "matgl:m3gnet_small"
    assert found.card.elements == list(ELEMENTS)
    assert set(found.files) == {"model.json", "model.pt", "state.pt"}
    assert pickle.loads(pickle.dumps(found)).card == found.card
    # On another disk, by the name on the card.
    for name, path in found.files.items():
        shutil.copy(path, tmp_path / name)
    there = open_potential(found.card.name, found.card.elements, folder=tmp_path)
    assert there.card == found.card
    assert str(tmp_path) not in there.card.model_dump_json()


def test_other_weights_have_another_hash(folder, tmp_path):
    first = open_potential(f"matgl:{folder}").card.hash
    other = shutil.copytree(folder, tmp_path / "other")
    assert open_potential(f"matgl:{other}").card.hash == first
    state = torch.load(other / "state.pt", weights_only=True)
    state["data_std"] *= 2
    torch.save(state, other / "state.pt")
    assert open_potential(f"matgl:{other}").card.hash != first


def refused(name, match, elements=()):
    with pytest.raises(DismaiError, match=match) as caught:
        open_potential(name, elements)
    assert "\n" not in str(caught.value)


def test_unknown_elements(folder):
    refused(f"matgl:{folder}", r"does not know Na \(it knows Li, Co, Sc, O, Cl\)", ["Na", "Li"])
    refused("chgnet", r"does not know Po, Xx \(it knows 89 others\)", ["Po", "Xx", "Li"])


def test_models_that_are_no_potentials(tmp_path):
    megnet = save_model(tmp_path / "megnet", kind="MEGNet", potential=False)
    refused(f"matgl:{megnet}", "holds a model of the class MEGNet, which predicts a property")
    intensive = save_model(tmp_path / "intensive", is_intensive=True)
    refused(f"matgl:{intensive}", "its model is intensive")


def test_other_potentials_of_matgl(tmp_path, structures):
    tensornet = save_model(
        tmp_path / "tensornet", kind="TensorNet", scale=60.0, is_intensive=False, units=8
    )
    compare(open_potential(f"matgl:{tensornet}", ["Li"]), structures[1:])


@pytest.mark.parametrize("missing", ["model.json", "model.pt", "state.pt"])
def test_a_folder_that_lacks_a_file(folder, tmp_path, missing):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / missing).unlink()
    refused(f"matgl:{other}", f"{missing} is missing")


@pytest.fixture
def damaged(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def test_weights_of_another_architecture(damaged):
    """As those of the time before PyTorch Geometric, whose layers have other names."""
    state = torch.load(damaged / "state.pt", weights_only=True)
    torch.save({f"old.{key}": value for key, value in state.items()}, damaged / "state.pt")
    refused(f"matgl:{damaged}", "not the weights of a potential of this version of matgl")


def test_a_random_file_of_torch(damaged):
    torch.save(torch.zeros(3), damaged / "state.pt")
    refused(f"matgl:{damaged}", "not the weights of a potential")


def test_what_would_be_unpickled_is_refused(damaged):
    torch.save({"model": Path("x")}, damaged / "model.pt")
    refused(f"matgl:{damaged}", r"not the weights of a potential.*(Weights only|UnpicklingError)")


def test_a_class_from_elsewhere_is_not_called(damaged, tmp_path):
    """The files name the class of the model, which matgl would import from anywhere and call."""
    arguments = torch.load(damaged / "model.pt", weights_only=True)
    marker = tmp_path / "called"
    arguments["model"] = {
        "@class": "makedirs",
        "@module": "os",
        "@model_version": 1,
        "init_args": {"name": str(marker)},
    }
    torch.save(arguments, damaged / "model.pt")
    refused(f"matgl:{damaged}", "this matgl has no model 'makedirs'")
    arguments["model"]["@class"] = "M3GNet"
    torch.save(arguments, damaged / "model.pt")
    refused(f"matgl:{damaged}", r"saved by an older matgl \(os\)")
    assert not marker.exists()


def test_an_older_version_is_not_loaded_with_a_warning(damaged):
    arguments = torch.load(damaged / "model.pt", weights_only=True)
    arguments["model"]["@model_version"] = 0
    torch.save(arguments, damaged / "model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(f"matgl:{damaged}", "Incompatible model version")


def test_a_description_that_is_none(damaged):
    (damaged / "model.json").write_text(json.dumps(["Potential"]))
    refused(f"matgl:{damaged}", "model.json does not describe a model")
    (damaged / "model.json").write_text("{")
    refused(f"matgl:{damaged}", "model.json does not describe a model")
