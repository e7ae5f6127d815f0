"""Score amorphous silicon that is relaxed already, or relax it first.

    python workflows/06_score_silicon.py TRAIN.extxyz GENERATED.extxyz [POTENTIAL]

Without POTENTIAL (sw, tersoff, quippy:XML) both files are taken as relaxed. Three lines at the end
show how to read distributions from a score.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.read import read_structures
from dismaiflow.systems import get_system


def main(train: Path, generated: Path, potential: str | None) -> None:
    """Score, and print the metrics and the first peak of g(r)."""
    spec = get_system("amorphous-si")
    store = embedded_jobstore(Path("score.sqlite"))
    store.connect()
    plan = None
    if potential is not None:
        opened = open_potential(potential, spec.species)
        plan = RelaxationPlan(potential=put_potential(store, potential, opened))

    found = read_structures(generated)
    flow = BenchmarkMaker().make(
        spec,
        ScoringProtocol.for_kind(spec.kind, "published"),
        put_structures(store, read_structures(train).structures),
        [store_generated(store, generated.name, found.structures, 50, found.indices, found.bad)],
        reference_name=train.name,
        model=generated.stem,
        relaxation=plan,
    )
    run_locally(flow, store=store, ensure_success=True)

    score = ScoreDoc.model_validate(flow.output.resolve(store))
    for name, metric in score.metrics.items():
        print(f"{name}: {metric.value}  floor {score.floor.get(name)}")
    rdf = score.findings.curves["rdf"]
    peak = max(range(len(rdf.x)), key=lambda i: rdf.generated[i])
    print(f"g(r) is highest, {rdf.generated[peak]:.3g}, at {rdf.x[peak]:.2f} Å")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else None)
