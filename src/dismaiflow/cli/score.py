"""``dismai score``: score generated structures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import one_of, out
from dismaiflow.cli.inputs import (
    card_controls,
    find_alloy,
    read_generated,
    read_reference,
    reference_name,
)
from dismaiflow.cli.run import open_store, run_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc, GeneratedSet, ScoreDoc
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.systems import SystemSpec


def score(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="Name or YAML file of the system.")
    ],
    generated: Annotated[
        list[Path],
        typer.Argument(
            metavar="GENERATED",
            help="Generated structures: extxyz files, or folders or zips of CIFs or POSCARs; "
            "one per separately trained model.",
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(help="A dataset folder, an extxyz file, or store:HASH."),
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for score.json and report.html.")],
    protocol: Annotated[
        str, typer.Option(help="published: the numbers of the published scripts; or corrected.")
    ] = "published",
    alignment: Annotated[
        str | None,
        typer.Option(help="published only: fixed (default), translated or rotated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; the file's name by default.")
    ] = None,
    controls: Annotated[
        bool, typer.Option(help="Score the controls too, unless the dataset has them.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print score.json.")] = False,
) -> None:
    """Score generated structures, beside the paper's models and the controls."""
    from dismaiflow.report.html import write_report
    from dismaiflow.report.tables import score_table
    from dismaiflow.settings import load_settings
    from dismaiflow.structures.files import check_out_folder, new_folder

    spec = find_alloy(system)
    chosen = _protocol(protocol, alignment)
    check_out_folder(out_dir)
    with open_store() as store:
        ref, dataset = read_reference(reference, store, spec)
        sets = read_generated(generated, store, load_settings().CHUNK_SIZE)
        beside = _controls(spec, chosen, ref, dataset, store, json) if controls else None
        document = _score(
            spec,
            chosen,
            ref,
            reference_name(reference),
            sets,
            name or generated[0].stem,
            beside,
            store,
            json,
        )
    if document.n_scored == 0:
        reasons = ", ".join(f"{k}: {v}" for k, v in document.failures.items())
        first = document.failed[0]
        raise DismaiError(
            f"{generated[0]}: none of {document.n_generated} structures can be scored ({reasons}); "
            f"structure {first.index}: {first.detail}"
        )
    with new_folder(out_dir) as partial:
        (partial / "score.json").write_text(document.model_dump_json(indent=1), encoding="utf-8")
        write_report(
            partial / "report.html",
            scores=[document],
            datasets=[dataset.card] if dataset else [],
            title=f"{document.provenance.model} on {spec.name}",
        )
    if json:
        typer.echo(document.model_dump_json(indent=1))
        return
    out.print(score_table(document))
    out.print(f"wrote {out_dir / 'score.json'} and {out_dir / 'report.html'}", soft_wrap=True)


def _protocol(name: str, alignment: str | None) -> ScoringProtocol:
    from dismaiflow.benchmark.protocol import PUBLISHED_ALIGNMENTS, ScoringProtocol

    one_of("--protocol", name, ("published", "corrected"))
    if alignment is not None:
        one_of("--alignment", alignment, PUBLISHED_ALIGNMENTS)
    return ScoringProtocol(name=name, alignment=alignment)


def _score(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    called: str,
    sets: list[GeneratedSet],
    model: str,
    controls: ControlsDoc | None,
    store: JobStore,
    quiet: bool,
) -> ScoreDoc:
    """Run the scoring flow."""
    from dismaiflow.benchmark.flows import ScoreAlloyMaker
    from dismaiflow.benchmark.schemas import ScoreDoc

    flow = ScoreAlloyMaker().make(spec, protocol, reference, sets, called, model, controls)
    done = run_flow(flow, store, quiet)
    document = ScoreDoc.model_validate(done.result(flow.output))
    done.tell_failures()
    return document


def _controls(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    dataset: Dataset | None,
    store: JobStore,
    quiet: bool,
) -> ControlsDoc:
    """Take the controls from the dataset's card or the store, or score them now."""
    from dismaiflow.benchmark.flows import VALIDATION_CONTROL, AlloyControlsMaker
    from dismaiflow.benchmark.jobs import expansion_hash, store_generated
    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.settings import load_settings

    kept = card_controls(dataset.card) if dataset is not None else {}
    own = kept.get(protocol.key)
    if own is not None and own.complete and own.expansion_hash == expansion_hash(spec):
        return own
    n_control = load_settings().N_CONTROL
    known = store.query(
        {
            "output.kind": "controls",
            "output.system": spec.name,
            "output.reference_hash": reference.content_hash,
            "output.protocol.name": protocol.name,
            "output.protocol.version": protocol.version,
            "output.protocol.alignment": protocol.alignment,
            "output.n_sampled": n_control,
            "output.expansion_hash": expansion_hash(spec),
        },
        load=True,
    )
    for document in known:
        stored = ControlsDoc.model_validate(document["output"])
        if stored.complete and (dataset is None or VALIDATION_CONTROL in stored.scores):
            return stored
    maker = AlloyControlsMaker(n=n_control)
    validation = None
    if dataset is not None and "val" in dataset.card.counts:
        chunk_size = maker.sample_maker.chunk_size
        validation = store_generated(store, VALIDATION_CONTROL, dataset.read("val"), chunk_size)
    flow = maker.make(spec, [protocol], reference, validation)
    done = run_flow(flow, store, quiet)
    return ControlsDoc.model_validate(done.result(flow.output[protocol.key]))
