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
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow import Flow, JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc, GeneratedSet, ScoreDoc
    from dismaiflow.cli.run import FinishedRun
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
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for score.json and report.html.")
    ] = None,
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
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print score.json.")] = False,
) -> None:
    """Score generated structures, beside the paper's models and the controls."""
    from dismaiflow.settings import load_settings
    from dismaiflow.structures.files import check_out_folder

    check_place(out_dir, submit)
    spec = find_alloy(system)
    chosen = _protocol(protocol, alignment)
    if out_dir is not None:
        check_out_folder(out_dir)
    with open_place(submit) as place:
        ref, dataset = read_reference(reference, place.store, spec)
        sets = read_generated(generated, place.store, load_settings().CHUNK_SIZE)
        beside = _controls(spec, chosen, ref, dataset, place.store) if controls else None
        called = reference_name(reference)
        model = name or generated[0].stem
        flow = _score_flow(spec, chosen, ref, called, sets, model, beside)
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        done = run_flow(flow, place.store, json, tags or ())
        document = _result(done, flow, generated[0])
    assert out_dir is not None
    _write(document, dataset, out_dir, json)


def _write(document: ScoreDoc, dataset: Dataset | None, folder: Path, json: bool) -> None:
    """Write the folder and print the table."""
    from dismaiflow.report.html import write_report
    from dismaiflow.report.tables import score_table
    from dismaiflow.structures.files import new_folder

    with new_folder(folder) as partial:
        (partial / "score.json").write_text(document.model_dump_json(indent=1), encoding="utf-8")
        write_report(
            partial / "report.html",
            scores=[document],
            datasets=[dataset.card] if dataset else [],
            title=f"{document.provenance.model} on {document.system}",
        )
    if json:
        typer.echo(document.model_dump_json(indent=1))
        return
    out.print(score_table(document))
    out.print(f"wrote {folder / 'score.json'} and {folder / 'report.html'}", soft_wrap=True)


def _result(done: FinishedRun, flow: Flow, first: Path) -> ScoreDoc:
    """Return the score of a finished run.

    Raises
    ------
    DismaiError
        If there is none, or not one structure could be scored.
    """
    from dismaiflow.benchmark.schemas import ScoreDoc

    document = ScoreDoc.model_validate(done.result(flow.output))
    done.tell_failures()
    if document.n_scored == 0:
        reasons = ", ".join(f"{k}: {v}" for k, v in document.failures.items())
        failed = document.failed[0]
        raise DismaiError(
            f"{first}: none of {document.n_generated} structures can be scored ({reasons}); "
            f"structure {failed.index}: {failed.detail}"
        )
    return document


def _protocol(name: str, alignment: str | None) -> ScoringProtocol:
    from dismaiflow.benchmark.protocol import PUBLISHED_ALIGNMENTS, ScoringProtocol

    one_of("--protocol", name, ("published", "corrected"))
    if alignment is not None:
        one_of("--alignment", alignment, PUBLISHED_ALIGNMENTS)
    return ScoringProtocol(name=name, alignment=alignment)


def _score_flow(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    called: str,
    sets: list[GeneratedSet],
    model: str,
    controls: ControlsDoc | Flow | None,
) -> Flow:
    """Build the scoring flow, after that of the controls where they are not known yet."""
    from jobflow import Flow

    from dismaiflow.benchmark.flows import ScoreAlloyMaker

    if not isinstance(controls, Flow):
        return ScoreAlloyMaker().make(spec, protocol, reference, sets, called, model, controls)
    beside = controls.output[protocol.key]
    scored = ScoreAlloyMaker().make(spec, protocol, reference, sets, called, model, beside)
    return Flow([controls, scored], output=scored.output, name=scored.name)


def _controls(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    dataset: Dataset | None,
    store: JobStore,
) -> ControlsDoc | Flow:
    """Take the controls from the dataset's card or the store, or return a flow that scores them."""
    from dismaiflow.benchmark.collecting import store_generated
    from dismaiflow.benchmark.flows import VALIDATION_CONTROL, AlloyControlsMaker
    from dismaiflow.benchmark.jobs import expansion_hash
    from dismaiflow.settings import load_settings

    kept = card_controls(dataset.card) if dataset is not None else {}
    own = kept.get(protocol.key)
    if own is not None and own.complete and own.expansion_hash == expansion_hash(spec):
        return own
    n_control = load_settings().N_CONTROL
    has_validation = dataset is not None and "val" in dataset.card.counts
    known = _known_controls(spec, protocol, reference, n_control, store, has_validation)
    if known is not None:
        return known
    maker = AlloyControlsMaker(n=n_control)
    validation = None
    if dataset is not None and has_validation:
        chunk_size = maker.sample_maker.chunk_size
        validation = store_generated(store, VALIDATION_CONTROL, dataset.read("val"), chunk_size)
    return maker.make(spec, [protocol], reference, validation)


def _known_controls(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    n_control: int,
    store: JobStore,
    with_validation: bool,
) -> ControlsDoc | None:
    """Find the controls in the store."""
    from dismaiflow.benchmark.flows import VALIDATION_CONTROL
    from dismaiflow.benchmark.jobs import expansion_hash
    from dismaiflow.benchmark.schemas import ControlsDoc

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
        if stored.complete and (not with_validation or VALIDATION_CONTROL in stored.scores):
            return stored
    return None
