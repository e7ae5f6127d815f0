"""``dismai launchpad``: a MongoDB server and the configuration with which flows are submitted."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import typer

from dismaiflow.cli.console import err, out, print_json
from dismaiflow.errors import DismaiError

app = typer.Typer(
    help="Submit flows to workers: set up, check, watch and repair.", no_args_is_help=True
)

_DATA = typer.Option(
    None, "--data", metavar="DIR", help="Folder of the private server (default: ~/.dismai/mongod)."
)
_PASSWORD_FILE = typer.Option(
    None, help="File with the password; - reads it from the standard input."
)
_CA_FILE = typer.Option(
    None,
    metavar="FILE",
    help="Authority that signed the server's certificate, PEM (default: those of the system).",
)
_DIR = typer.Argument(
    None, metavar="[DIR]", help="Folder of the configuration (default: DISMAI_LAUNCHPAD_DIR)."
)


#: How each state of a check is shown.
_WORDS = {"ok": ("ok", "green"), "failed": ("FAILED", "bold red"), "skipped": ("skipped", "yellow")}


@app.command("up")
def up(
    data: Path | None = _DATA,
    port: int | None = typer.Option(
        None, min=1, max=65535, help="Port to listen on (default: a free one, kept from then on)."
    ),
) -> None:
    """Start a private MongoDB server, for those who have none.

    It serves this machine only, asks for generated passwords, and goes on when the shell ends.
    """
    from dismaiflow.launch.server import PrivateServer, default_folder

    server = PrivateServer(data or default_folder(), port)
    if server.start():
        out.print(f"MongoDB serves this machine at 127.0.0.1:{server.port}", soft_wrap=True)
    else:
        out.print(f"MongoDB was running already at 127.0.0.1:{server.port}", soft_wrap=True)
        if port not in (None, server.port):
            out.print(f"for port {port}, run `dismai launchpad down` first", soft_wrap=True)
    _say(f"data and log: {server.folder}; passwords: {server.credentials_file} (only you may read)")
    _say(f"next: dismai launchpad init{_option(data)}")


@app.command("down")
def down(data: Path | None = _DATA) -> None:
    """Stop the private MongoDB server; its data stay."""
    from dismaiflow.launch.server import PrivateServer, default_folder

    server = PrivateServer(data or default_folder())
    if server.stop():
        _say(f"MongoDB has stopped; its data stay in {server.folder}")
    else:
        _say(f"no private MongoDB server was running from {server.folder}")
    if server.is_set_up():
        _say(f"to go on: dismai launchpad up{_option(data)}")


@app.command("init")
def init(
    folder: Path | None = _DIR,
    host: str | None = typer.Option(
        None, help="Your MongoDB server (default: the private one of `dismai launchpad up`)."
    ),
    port: int = typer.Option(27017, min=1, max=65535, help="Its port."),
    database: str = typer.Option("dismai", help="Database for results."),
    launchpad_database: str | None = typer.Option(
        None, help="Database for the LaunchPad (default: that of the results and _launchpad)."
    ),
    user: str | None = typer.Option(None, help="Who logs in; the password is asked for."),
    password_file: Path | None = _PASSWORD_FILE,
    auth_database: str = typer.Option("admin", help="Database in which the server keeps the user."),
    tls: bool = typer.Option(
        False, "--tls", help="Encrypt the connection; --tls-ca-file says so too."
    ),
    tls_ca_file: Path | None = _CA_FILE,
    data: Path | None = _DATA,
    force: bool = typer.Option(False, "--force", help="Replace edited files, keeping copies."),
    no_link: bool = typer.Option(False, "--no-link", help="Make no links in your home."),
) -> None:
    """Write the configuration of FireWorks, jobflow and atomate2, and make the databases ready.

    Nothing that is in the databases is touched, and no file that you have edited.
    """
    from dismaiflow.launch.init import Login, initialise
    from dismaiflow.launch.server import PrivateServer, default_folder
    from dismaiflow.settings import load_settings

    default = load_settings().LAUNCHPAD_DIR
    folder = (folder or default).expanduser().absolute()
    if host is None:
        server = PrivateServer(data or default_folder())
        if password_file is not None:
            raise DismaiError("--password-file: name your server too, with --host")
        if tls or tls_ca_file is not None:
            raise DismaiError("--tls: name your server too, with --host; the private one has none")
        if not server.is_set_up():
            raise DismaiError(
                "there is no MongoDB server to use: start a private one with `dismai launchpad "
                "up`, or name yours with --host"
            )
        known = server.credentials(user or "dismai")
        login = Login(known["host"], known["port"], user=known["user"], password=known["password"])
    else:
        password = _password(user, password_file)
        login = Login(
            host,
            port,
            database,
            launchpad_database or f"{database}_launchpad",
            user,
            password,
            auth_database,
            tls or tls_ca_file is not None,
            tls_ca_file.expanduser().absolute() if tls_ca_file else None,
        )
    done = initialise(folder, login, force=force, link=not no_link)
    if done.written:
        _say(f"wrote {len(done.written)} files to {folder} (only you may read them)")
    if done.unchanged:
        _say(f"{len(done.unchanged)} files in {folder} are as they should be")
    for backup in done.backups:
        _say(f"kept a copy of your edited file as {backup}")
    if done.kept:
        names = ", ".join(done.kept)
        _say(f"left alone what you have edited: {names} (--force replaces it and keeps a copy)")
    if done.may_write:
        what = "new and empty" if done.launchpad_is_new else "there already, jobs untouched"
        _say(f"LaunchPad {login.launchpad_database} at {login.place}: {what}; indexes made")
        _say(f"results store {login.database} at {login.place}: indexes made")
    else:
        _say(f"user {login.user} may only read at {login.place}: indexes were left as they are")
    for link in done.links:
        _say(f"linked {link}, so that rlaunch, qlaunch and lpad find it")
    for warning in done.warnings:
        err.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    if folder != default.absolute():
        _say(f"to use this folder: source {folder / 'env.sh'}")
    _say("next: dismai launchpad check")


@app.command("check")
def check(
    folder: Path | None = _DIR,
    via_queue: bool = typer.Option(
        False, "--via-queue", help="Run the trial jobs through qlaunch instead of rlaunch."
    ),
    queue_timeout: int = typer.Option(
        600, min=1, help="How long a trial job may wait in the queue [s]."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the checks as JSON."),
) -> None:
    """Prove the whole chain, from the server to the workers; says how to mend what is wrong."""
    from dismaiflow.launch.check import run_checks

    results = []
    # closing: an interrupted check removes what it has tried too
    checks = run_checks(folder, via_queue=via_queue, queue_timeout=queue_timeout)
    with closing(checks):
        for result in checks:
            results.append(result)
            if not as_json:
                word, style = _WORDS[result.state]
                out.print(f"{word:8}", style=style, end="")
                _say(result.line)
    failed = [result for result in results if result.state == "failed"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(result) for result in results]})
    elif failed:
        _say(f"{len(failed)} of {len(results)} checks failed: mend the first one first")
    else:
        _say("all is well; next: dismai score ... --submit, then rlaunch rapidfire")
    if failed:
        raise typer.Exit(2)


def _say(line: str) -> None:
    """Print one line as it is."""
    out.print(line, markup=False, soft_wrap=True)


def _option(data: Path | None) -> str:
    return f" --data {data}" if data else ""


def _password(user: str | None, file: Path | None) -> str | None:
    """Return the password of a user: from a file, or asked for; never from the command line."""
    if user is None:
        if file is not None:
            raise DismaiError("--password-file: name the user too, with --user")
        return None
    if file is None:
        if not sys.stdin.isatty():
            raise DismaiError("--user: give the password in a file, with --password-file")
        password: str = typer.prompt(f"Password of {user}", hide_input=True, err=True)
        return password
    if str(file) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise DismaiError(f"--password-file {file}: {reason}") from error
