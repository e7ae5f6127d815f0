"""``dismai results gc``: what nothing refers to, once every LaunchPad of the store was asked."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import err, out, print_json
from dismaiflow.cli.results_options import JsonOption, StoreOption
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobflow import JobStore
    from pymongo import MongoClient
    from pymongo.database import Database

    from dismaiflow.cli.stores import OpenStore
    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.store.launchpads import KnownLaunchPad

_MY_LAUNCHPAD = "my_launchpad.yaml"


@dataclass
class LaunchPads:
    """The LaunchPads whose runs may need what lies in a store.

    Parameters
    ----------
    databases : dict of str to Database
        Those that can be read, by place.
    unread : dict of str to str
        The others, with the reason and the way out.
    clients : dict of str to (MongoClient, str or None)
        Connections to servers with the login of a configuration, and whose that is.
    """

    databases: dict[str, Database[Any]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    clients: dict[str, tuple[MongoClient[Any], str | None]] = field(default_factory=dict)


def gc(
    remove: Annotated[bool, typer.Option("--remove", help="Remove them.")] = False,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            min=2.0,
            metavar="HOURS",
            help="Leave what is younger alone: a running job may need it.",
        ),
    ] = 24.0,
    launchpad: Annotated[
        list[Path] | None,
        typer.Option(
            "--launchpad",
            metavar="FOLDER",
            help="The configuration of one more LaunchPad whose runs use this store; may be given "
            "several times.",
        ),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            "--forget-launchpad",
            metavar="HOST:PORT/NAME",
            help="A LaunchPad that is gone for good; may be given several times.",
        ),
    ] = None,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Find stored blobs that neither a result nor a run needs any more; remove them if asked."""
    from dismaiflow.cli.stores import opened
    from dismaiflow.store.gc import collect_garbage

    with (
        opened(store, quiet=json) as found,
        opened_launchpads(found, launchpad or [], forget or []) as launchpads,
    ):
        if remove:
            _check_complete(found, launchpads)
        for place, reason in launchpads.unread.items():
            line = f"the LaunchPad {place} was not asked, and may need some of these: {reason}"
            err.print(line, style="yellow", markup=False, soft_wrap=True)
        databases = list(launchpads.databases.values())
        garbage = collect_garbage(found.jobstore, older_than, remove, launchpads=databases)
    if json:
        print_json(
            {
                "orphans": garbage.by_kind(),
                "n_kept": garbage.n_kept,
                "n_young": garbage.n_young,
                "n_removed": len(garbage.removed),
                "launchpads": sorted(launchpads.databases),
                "launchpads_unread": sorted(launchpads.unread),
            }
        )
        return
    for kind, of_kind in garbage.by_kind().items():
        out.print(f"{kind}: {of_kind['n']} orphans, {size_text(of_kind['n_bytes'])}", markup=False)
    total = sum(entry.n_bytes for entry in garbage.orphans)
    out.print(
        f"{len(garbage.orphans)} orphans ({size_text(total)}); {garbage.n_kept} blobs are in use, "
        f"{garbage.n_young} are younger than {older_than:g} h",
        soft_wrap=True,
    )
    if remove:
        out.print(f"removed {len(garbage.removed)}")
    elif garbage.orphans:
        out.print("nothing was removed: --remove does")


def size_text(n_bytes: int) -> str:
    """Return a number of bytes for people."""
    size, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _check_complete(found: OpenStore, launchpads: LaunchPads) -> None:
    """Refuse to remove anything that a run on some LaunchPad may need.

    Raises
    ------
    DismaiError
        Names the LaunchPad, and the way out.
    """
    for place, reason in launchpads.unread.items():
        raise DismaiError(
            f"nothing was removed: the LaunchPad {place} may need some of these blobs: {reason}"
        )
    if found.folder is not None and not launchpads.databases:
        raise DismaiError(
            f"{found.folder}: no {_MY_LAUNCHPAD} lies beside jobflow.yaml, and what waits on "
            "a LaunchPad may need some of these blobs: name its folder with --launchpad"
        )


@contextmanager
def opened_launchpads(
    found: OpenStore, folders: Sequence[Path] = (), forget: Sequence[str] = ()
) -> Iterator[LaunchPads]:
    """Open all LaunchPads that may use a store; close them after the block.

    These are the ones that have submitted to it, the one that is configured beside it, the one of
    the settings unless that certainly uses another store, and those that are named.

    Parameters
    ----------
    found : OpenStore
        The store.
    folders : sequence of Path
        Further configurations.
    forget : sequence of str
        Places of LaunchPads that are gone, which the store is to forget.

    Raises
    ------
    DismaiError
        If a folder holds no LaunchPad, or what is to be forgotten is unknown, still there, or where
        a configuration leads.
    """
    from dismaiflow.store.launchpads import forget_launchpad, registered_launchpads

    launchpads = LaunchPads()
    registered = {known.place: known for known in registered_launchpads(found.jobstore)}
    unknown = sorted(set(forget) - set(registered))
    if unknown:
        names = ", ".join(registered) or "none"
        raise DismaiError(
            f"--forget-launchpad {unknown[0]}: the store knows no such LaunchPad; it knows {names}"
        )
    with ExitStack() as stack:
        for config in _configurations(found, folders):
            _open_configured(config, found.jobstore, launchpads, stack)
        configured = dict(launchpads.unread)
        for place, known in registered.items():
            if place not in launchpads.databases:
                _open_registered(known, found.jobstore, launchpads, stack)
        for place in forget:
            if place in launchpads.databases:
                raise DismaiError(
                    f"--forget-launchpad {place}: it is there and can be read: nothing is forgotten"
                )
            if place in configured:
                raise DismaiError(
                    f"--forget-launchpad {place}: a configuration leads there: {configured[place]}"
                )
            forget_launchpad(found.jobstore, registered[place])
            del launchpads.unread[place]
        yield launchpads


def _configurations(found: OpenStore, folders: Sequence[Path]) -> list[LaunchConfig]:
    """Return the configurations that lead to LaunchPads, each once."""
    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.settings import load_settings

    for folder in folders:
        LaunchConfig(folder.expanduser().absolute()).file(_MY_LAUNCHPAD)
    candidates = [folder.expanduser().absolute() for folder in folders]
    if found.folder is not None:
        candidates.append(found.folder)
    default = load_settings().LAUNCHPAD_DIR.absolute()
    if _may_use(LaunchConfig(default), found.jobstore):
        candidates.append(default)
    distinct = {folder.resolve(): folder for folder in candidates}.values()
    return [LaunchConfig(folder) for folder in distinct if (folder / _MY_LAUNCHPAD).is_file()]


def _may_use(config: LaunchConfig, jobstore: JobStore) -> bool:
    """Say whether the store of a configuration may be this one: not so if no part is the same."""
    from dismaiflow.launch.config import build_jobstore

    try:
        path = config.file("jobflow.yaml")
        theirs = _parts(build_jobstore(path, config.store_spec()))
    except DismaiError:
        return True  # it cannot be known
    return not theirs.isdisjoint(_parts(jobstore))


def _parts(jobstore: JobStore) -> set[str]:
    """Return in which files a store lies; all servers count as one, which may have many names."""
    from dismaiflow.store.blobs import data_store
    from dismaiflow.store.embedded import EmbeddedStore

    stores = (jobstore.docs_store, data_store(jobstore))
    return {
        str(Path(store.path).resolve()) if isinstance(store, EmbeddedStore) else "a server"
        for store in stores
    }


def _open_configured(
    config: LaunchConfig, jobstore: JobStore, launchpads: LaunchPads, stack: ExitStack
) -> None:
    """Open the LaunchPad of a configuration."""
    from dismaiflow.launch.config import user_of
    from dismaiflow.store.launchpads import launchpad_at

    file = config.folder / _MY_LAUNCHPAD
    place = str(file)
    try:
        settings = config.launchpad_settings()
        known = launchpad_at(jobstore, settings["host"], settings.get("port"), settings["name"])
        place = known.place
        connected = config.launchpad()
        stack.callback(connected.connection.close)
        _check_readable(connected.db, file, known.server, user_of(settings))
    except DismaiError as error:
        launchpads.unread[place] = str(error)
        return
    launchpads.databases[place] = connected.db
    launchpads.unread.pop(place, None)  # another folder may have had a wrong login
    launchpads.clients.setdefault(known.server, (connected.connection, user_of(settings)))


def _open_registered(
    known: KnownLaunchPad, jobstore: JobStore, launchpads: LaunchPads, stack: ExitStack
) -> None:
    """Open a LaunchPad that has submitted to the store, with a login that is known or none."""
    from pymongo.errors import PyMongoError

    reason = "only that machine can reach it"
    if not known.is_elsewhere:
        try:
            for client, user in _clients(known, jobstore, launchpads, stack):
                try:
                    _check_readable(client[known.name], _MY_LAUNCHPAD, known.server, user)
                except DismaiError as error:
                    reason = str(error)
                else:
                    launchpads.databases[known.place] = client[known.name]
                    return
        except (PyMongoError, ValueError) as error:
            reason = f"{known.server} is no address of a server: {error}"
    # where a configuration leads to it, it was said already what is to be mended
    launchpads.unread.setdefault(
        known.place,
        f"{reason}; name the folder of its configuration with --launchpad FOLDER or, if it is gone "
        f"for good, say --forget-launchpad {known.place}",
    )


def _clients(
    known: KnownLaunchPad, jobstore: JobStore, launchpads: LaunchPads, stack: ExitStack
) -> Iterator[tuple[MongoClient[Any], str | None]]:
    """Yield connections to the server of a LaunchPad, and whose login each has."""
    from pymongo import MongoClient

    from dismaiflow.launch.config import place_of, user_of
    from dismaiflow.launch.mongo import PATIENCE
    from dismaiflow.store.reading import is_server

    configured = launchpads.clients.get(known.server)
    if configured:
        yield configured
    store = jobstore.docs_store
    of_the_store = is_server(store) and place_of(vars(store)) == known.server
    if of_the_store:
        yield store._collection.database.client, user_of(vars(store))
    if not configured and not of_the_store:
        milliseconds = int(1000 * PATIENCE)
        uri = f"mongodb://{known.server}/"
        client = MongoClient[Any](uri, serverSelectionTimeoutMS=milliseconds)
        stack.callback(client.close)
        yield client, None


def _check_readable(
    database: Database[Any], file: str | Path, server: str, user: str | None
) -> None:
    """Refuse a database that holds no LaunchPad, or may not be read.

    Raises
    ------
    DismaiError
        In one line.
    """
    from dismaiflow.launch.mongo import explained

    with explained(file, server, user):
        is_there = database["fw_id_assigner"].find_one() is not None
        for name in ("fireworks", "workflows", "launches"):
            database[name].find_one({}, {"_id": 1})
    if not is_there:
        raise DismaiError(f"the database {database.name!r} at {server} holds no LaunchPad")
