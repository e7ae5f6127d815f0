"""From two CIF files to a system, its dataset of relaxed interfaces, and a score against it.

    python workflows/09_new_interface_system.py [N [FOLDER [A.cif B.cif MILLER_A MILLER_B]]]

Without arguments: 4 structures of NaF(110)|Li2O(110) of the tutorials, cut down to 39 atoms and
relaxed with CHGNet (extra `potentials`), a minute on one core. The spec is written to
FOLDER/my-interface.yaml. If it is there already, it is taken as it is: edit it and run again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from jobflow import run_locally

from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan
from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.scaffold import interface_yaml_from_cifs
from dismaiflow.interfaces.summary import check_interface
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.generated import store_generated
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import SystemSpec

EXAMPLES = Path(__file__).parent.parent / "docs" / "tutorials" / "files"


def write_spec(path: Path, first: Path, second: Path, miller: list[tuple[int, ...]]) -> None:
    """Write a first spec, whose guesses are to be looked at."""
    text = interface_yaml_from_cifs(path.stem, first, second, miller=miller, folder=path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_small_example(path: Path) -> None:
    """Write the spec of the tutorial: the guesses, cut down to what a laptop relaxes in minutes."""
    write_spec(path, EXAMPLES / "NaF.cif", EXAMPLES / "Li2O.cif", [(1, 1, 0), (1, 1, 0)])
    keys = yaml.safe_load(path.read_text())
    keys["layers"] = {"NaF": 3, "Li2O": 3}
    keys["supercell"] = {"NaF": [[2, 0], [0, 1]], "Li2O": [[2, 0], [0, 1]]}
    keys["region"]["formula_units"] = 3
    # A rehearsal: few steps, and forces as large as they leave them.
    keys["dataset"]["relaxation"] |= {"optimizer": "lbfgs", "fmax": 0.5, "max_steps": 60}
    path.write_text(yaml.safe_dump(keys, sort_keys=False))


def main(n: int, folder: Path, path: Path) -> None:
    """Check the system, search its dataset, and score random structures against it."""
    spec = SystemSpec.from_file(path)
    found = check_interface(spec, folder / "check", seed=0)
    print(found.headline, *found.warnings, sep="\n")
    store = embedded_jobstore(folder / "store.sqlite")
    store.connect()
    check_out_folder(folder / spec.name)
    potential = put_potential(store, "chgnet", open_potential("chgnet", spec.species))

    flow = InterfaceDatasetMaker().make(spec, potential, seed=0, n_structures=n)
    run_locally(flow, store=store, ensure_success=True)
    document = DatasetDoc.model_validate(flow.output.resolve(store))
    dataset = export_dataset(store, document, folder / spec.name)
    search = dataset.card.statistics["search"]
    print(f"{dataset.folder}: {dataset.card.counts}; of {search['n_tried']}: {search['ended']}")

    # In place of a model: random structures of another seed, which it should beat.
    system = InterfaceSystem.from_spec(spec)
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    random = generator.generate(range(n), seed=1).structures
    score = BenchmarkMaker().make(
        system.spec,
        ScoringProtocol.for_kind(spec.kind, "published"),
        document.sets["train"],
        [store_generated(store, "random", random, 50)],
        reference_name=str(dataset.folder),
        model="random",
        controls=False,
        # The dataset was relaxed with this very potential and is taken as it is.
        relaxation=RelaxationPlan(potential=potential, reference=False),
    )
    run_locally(score, store=store, ensure_success=True)
    result = ScoreDoc.model_validate(score.output.resolve(store))
    for name, metric in result.metrics.items():
        print(f"{name}: {metric.value}")
    print(f"scored {result.n_scored} of {result.n_generated}; failures: {result.failures}")


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) not in (0, 1, 2, 6) or not (words or ["4"])[0].isdigit():
        raise SystemExit(__doc__)
    out = Path(words[1] if len(words) > 1 else "new-interface")
    spec_file = out / "my-interface.yaml"
    try:
        if not spec_file.exists():
            if len(words) == 6:
                planes = [tuple(int(i) for i in word.split(",")) for word in words[4:]]
                write_spec(spec_file, Path(words[2]), Path(words[3]), planes)
            else:
                write_small_example(spec_file)
        main(int(words[0]) if words else 4, out, spec_file)
    except (DismaiError, ValueError) as error:
        raise SystemExit(str(error)) from None
