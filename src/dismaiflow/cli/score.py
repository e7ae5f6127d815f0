"""``dismai score``: score generated structures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import out
from dismaiflow.cli.inputs import (
    find_system,
    read_generated,
    read_reference,
    reference_name,
)
from dismaiflow.cli.potentials import check_device
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.scoring import (
    Moving,
    control_sizes,
    open_for,
    scoring_protocol,
    store_potential,
    try_potential,
)
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow import Flow

    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.cli.run import FinishedRun
    from dismaiflow.structures.dataset import Dataset


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
        typer.Option(help="Alloys, published only: fixed (default), translated or rotated."),
    ] = None,
    potential: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="What relaxes interfaces and amorphous structures: sw, tersoff, chgnet, "
            "matgl:DIR, quippy:XML, command:FILE or module:callable.",
        ),
    ] = None,
    relaxed: Annotated[
        bool,
        typer.Option(
            "--relaxed",
            help="Take all structures as relaxed; with --potential only energies are computed.",
        ),
    ] = False,
    generated_lattice: Annotated[
        bool,
        typer.Option("--generated-lattice", help="Let each generated structure keep its own cell."),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; the file's name by default.")
    ] = None,
    controls: Annotated[
        bool, typer.Option(help="Score the controls too, unless the dataset has them.")
    ] = True,
    device: Annotated[
        str, typer.Option(help="cpu, or cuda to relax many structures at once on a GPU.")
    ] = "cpu",
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print score.json.")] = False,
) -> None:
    """Score generated structures, beside the paper's models and the controls."""
    from dismaiflow.settings import load_settings
    from dismaiflow.structures.files import check_out_folder

    check_place(out_dir, submit)
    from dismaiflow.benchmark.question import Question, build_flow

    spec = find_system(system)
    chosen = scoring_protocol(spec.kind, protocol, alignment)
    moving = Moving(potential, relaxed, device)
    opened = open_for(spec, moving)
    if not submit:
        check_device(device)
    if out_dir is not None:
        check_out_folder(out_dir)
    with open_place(submit) as place:
        ref, dataset = read_reference(reference, place.store, spec)
        sets = read_generated(generated, place.store, load_settings().CHUNK_SIZE)
        if not submit:
            # Workers may have what this machine lacks.
            try_potential(opened, place.store, ref)
        asked = Question(
            spec,
            chosen,
            ref,
            dataset,
            store_potential(place.store, spec, dataset, moving, opened),
        )
        flow = build_flow(
            asked,
            place.store,
            sets,
            reference_name(reference),
            name or generated[0].stem,
            sizes=control_sizes(),
            with_controls=controls,
            own_cells=generated_lattice,
            device=device,
        )
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
