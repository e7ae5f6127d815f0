"""Entry point of the ``dismai`` command."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from dismaiflow import __version__
from dismaiflow.cli import (
    data,
    dataset,
    dft,
    launchpad,
    leaderboard,
    models,
    potential,
    quickstart,
    region,
    rehearse,
    report,
    results,
    runs,
    score,
    study,
    systems,
    train,
)
from dismaiflow.cli.console import fail
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Exit code of a command that was interrupted.
_INTERRUPTED = 130

#: What typer raises for a wrong word or option; it has no public name for it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="dismai",
    help="Dismai-Bench: make datasets of disordered materials, score generative models on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart.quickstart)
app.command("dataset")(dataset.dataset)
app.command("score")(score.score)
app.command("train")(train.train)
app.command("generate")(train.generate)
app.command("study")(study.study)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("region")(region.region)
app.command("report")(report.report)
app.command("rehearse")(rehearse.rehearse)
app.add_typer(systems.app, name="systems")
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(potential.app, name="potential")
app.add_typer(dft.app, name="dft")
launchpad.app.command("status")(runs.status)
launchpad.app.command("retry")(runs.retry)
app.add_typer(launchpad.app, name="launchpad")
app.add_typer(results.app, name="results")


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@cache
def _command() -> Callable[..., Any]:
    """Make the command with all that is below it, once in a process."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command; every wrong input ends in one line and exit code 2."""
    try:
        code = _command()(standalone_mode=False, prog_name="dismai")
    except DismaiError as error:
        fail(str(error))
    except _UsageError as error:
        _fail_usage(error)
    except (KeyboardInterrupt, typer.Abort):  # the latter from a prompt
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; close quietly.
        sys.stderr.close()
        raise SystemExit(1) from None
    except OSError as error:
        fail(f"{error.filename or 'this machine'}: {error.strerror or error}")
    if code:
        sys.stderr.write("dismai: interrupted\n" if code == _INTERRUPTED else "")
        raise SystemExit(code)


def _fail_usage(error: Any) -> None:
    """Say in one line what is wrong with the words of a command."""
    message = error.format_message().strip()
    if not message:
        raise SystemExit(2)  # no words at all: the help was printed
    command = error.ctx.command_path if error.ctx else "dismai"
    fail(f"{message.rstrip('.')} (`{command} -h` shows how)")


if __name__ == "__main__":
    main()
