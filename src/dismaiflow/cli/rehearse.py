"""``dismai rehearse``: the whole chain, small, with a stand-in for VASP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import MAX_SEED, out, print_json
from dismaiflow.cli.inputs import find_system
from dismaiflow.cli.potentials import check_scratch
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

if TYPE_CHECKING:
    from rich.table import Table


def rehearse(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="Name or YAML file.")],
    out_dir: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    potential: Annotated[
        str,
        typer.Option(help="What the stand-in for VASP computes with: chgnet; or toy, fast."),
    ] = "chgnet",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    n_without: Annotated[
        int | None,
        typer.Option("--without", min=0, help="Training structures without exchanged ions."),
    ] = None,
    n_with: Annotated[
        int | None, typer.Option("--with", min=0, help="Training structures with exchanged ions.")
    ] = None,
    n_low: Annotated[
        int | None, typer.Option("--n", min=2, help="Structures of the dataset.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the training.")] = None,
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rehearse DFT, training, search, dataset and score of an interface without VASP.

    Random structures, both stages of DFT under custodian, the training set, an M3GNet trained on
    it, a search with that potential, DFT after it (Table 5), a dataset, a score and a report. All
    is real but VASP, for which a stand-in computes; whatever it made bears the mark of a rehearsal.
    """
    check_place(out_dir, submit)
    from dismaiflow.structures.files import check_out_folder

    spec = find_system(system)
    needs(submit)
    if out_dir is not None:
        check_out_folder(out_dir)
    if not submit:
        check_scratch()
    _check_potential(potential, spec.species)
    wanted = {"n_without": n_without, "n_with": n_with, "n_low": n_low}
    sizes = {name: n for name, n in wanted.items() if n is not None}
    flow = _maker(potential, sizes, epochs).make(spec, seed)
    with open_place(submit) as place:
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        done = run_flow(flow, place.store, json, tags or ())
        from dismaiflow.campaigns.rehearsal import RehearsalDoc
        from dismaiflow.report.rehearsal_folder import export_rehearsal, rehearsal_summary

        document = RehearsalDoc.model_validate(done.result(flow.output))
        assert out_dir is not None
        export_rehearsal(place.store, document, out_dir)
    summary = rehearsal_summary(document)
    if json:
        print_json(summary)
    else:
        print_summary(summary)
        page = out_dir / "report.html"
        look = f"; look at {page}" if page.is_file() else ""
        out.print(f"wrote {out_dir}{look}", soft_wrap=True)
    if document.score is None:
        first = done.errors[0] if done.errors else "a part is missing"
        raise DismaiError(f"the rehearsal did not come to its end: {first}")
    done.tell_failures()


def needs(submit: bool) -> None:
    """Refuse where a package is missing, before anything runs."""
    from dismaiflow.potentials.cards import need_modules

    need_modules("rehearsal", "dft", "atomate2", "custodian")
    if not submit:
        need_modules("m3gnet", "potentials", "torch", "matgl")


def _check_potential(name: str, elements: Sequence[str]) -> None:
    """Refuse a stand-in that knows no such potential, or elements that it does not know."""
    if name == "toy":
        return
    from dismaiflow.potentials.names import open_potential

    try:
        open_potential(name, elements)
    except DismaiError as error:
        raise DismaiError(f"--potential: {error}; or take toy, which is made for tests") from None


def _maker(potential: str, sizes: dict[str, Any], epochs: int | None) -> Any:
    from dataclasses import replace

    from dismaiflow.benchmark.structure_flows import StructureControlsMaker
    from dismaiflow.campaigns.rehearsal import RehearsalMaker, RehearsalPlan
    from dismaiflow.campaigns.relaxed import ScoreControlsMaker
    from dismaiflow.settings import load_settings

    plan = RehearsalPlan(**sizes)
    if epochs is not None:
        plan = replace(plan, training=plan.training | {"epochs": epochs})
    settings = load_settings()
    scored = StructureControlsMaker(
        n=settings.N_CONTROL, n_relaxed=min(settings.N_CONTROL_RELAXED, plan.n_scored)
    )
    return RehearsalMaker(
        potential=potential, plan=plan, controls_maker=ScoreControlsMaker(controls_maker=scored)
    )


def summary_table(summary: dict[str, Any]) -> Table:
    """Return what a rehearsal has shown as a table."""
    from rich.table import Table

    shown = Table(title=f"rehearsal of {summary['system']}", show_header=False)
    for line in (*_made(summary), *_found(summary)):
        shown.add_row(*line)
    return shown


def print_summary(summary: dict[str, Any]) -> None:
    """Print what a rehearsal has shown."""
    out.print(summary_table(summary))
    out.print(f"- {summary['warning']}; nothing here is a result of DFT", style="yellow")
    ratios = [summary.get("force_ratio"), summary.get("energy_ratio")]
    if any(ratio is not None and ratio >= 1 for ratio in ratios):
        out.print("- the potential has not learned: more --epochs, or more structures, may help")


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())


def _made(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what was made by DFT and training."""
    lines = []
    if "runs" in summary:
        lines += [
            ("DFT relaxations", f"{_words(summary['runs'])}; restarts {summary['restarts']}"),
            ("frames", f"{_words(summary['frames'])}; relaxations {_words(summary['parents'])}"),
        ]
    if "errors" in summary:
        errors, plain = summary["errors"], summary["baselines"]
        text = (
            f"forces {errors['force']:.3f} eV/Å ({summary['force_ratio']:.2f} of predicting none)"
            f", energy {1e3 * errors['energy']:.1f} meV/atom ({summary['energy_ratio']:.2f} of "
            f"predicting the mean, {1e3 * plain['energy']:.1f})"
        )
        lines.append(("M3GNet on held-out relaxations", text))
    return lines


def _found(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what was found with the potential."""
    lines = []
    if "dataset" in summary:
        lines.append(("dataset", _words(summary["dataset"])))
    check = (summary.get("dft_check") or {}).get("all", {})
    if check.get("n"):
        text = (
            f"{check['n']} structures, {check['n_steps']['mean']:.1f} steps, "
            f"|ΔE M-opt| {check['m_opt']['mean']:.1f}, |ΔE D-opt| {check['d_opt']['mean']:.1f} "
            "meV/atom"
        )
        lines.append(("DFT after M3GNet (Table 5)", text))
    if "score" in summary:
        known = {name: value for name, value in summary["score"].items() if value is not None}
        lines.append(
            ("random structures", ", ".join(f"{name} {v:.3f}" for name, v in known.items()))
        )
    return lines
