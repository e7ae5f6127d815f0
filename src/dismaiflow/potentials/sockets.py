"""Calculators in another environment, by the socket protocol of i-PI and ASE.

This side is the server: it starts the client that a recipe names (see `recipe`), hands it
positions and a cell, and gets energy and forces. The protocol says nothing of species; the client
reads them from a file when it starts, so a structure of another composition needs a new client.

i-PI: V. Kapil et al., Comput. Phys. Commun. 236, 214 (2019), doi:10.1016/j.cpc.2018.09.020.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.socketio import IPIProtocol, actualunixsocketname

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.cards import check_known, file_hashes, potential_hash
from dismaiflow.potentials.recipe import FoundRecipe, read_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

#: Seconds that a client has to end by itself, and then after it was asked by a signal.
_PATIENCE = 2.0

#: Seconds between two looks whether a client that has not yet connected still lives.
_POLL = 0.1

#: Letters of what a client said last that a message repeats, and bytes that are read for them.
_LAST_WORDS, _LAST_BYTES = 300, 4096


@dataclass(frozen=True)
class CommandPotential:
    """A potential behind a socket.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    found : FoundRecipe
        Its recipe.
    """

    card: PotentialCard
    found: FoundRecipe

    @property
    def files(self) -> Mapping[str, Path]:
        """The recipe and the files beside it."""
        return self.found.travelling

    def calculator(self) -> SocketCalculator:
        """Return an ASE calculator; its client starts with the first structure."""
        return SocketCalculator(self.card.name, self.found, self.card.elements)

    def evaluator(self, device: str = "cpu") -> None:
        """There is none; a client computes one structure at a time."""


def open_command(path: Path, elements: Sequence[str] = (), name: str = "") -> CommandPotential:
    """Check a recipe and all that it names, without starting its client.

    Parameters
    ----------
    path : Path
        The recipe.
    elements : sequence of str, optional
        Elements that it must know.
    name : str, optional
        Name for documents; by default that of the file.

    Raises
    ------
    DismaiError
        If the recipe does not fit, something that it names is missing, or an element is not known.
    """
    shown = f"command:{path}"
    if not path.is_file():
        raise DismaiError(f"potential {shown!r}: no such file")
    found = read_recipe(path)
    recipe = found.recipe
    if recipe.elements is not None:
        check_known(shown, recipe.elements, elements)
    beside = {key: file for key, file in found.travelling.items() if file != path}
    weights = file_hashes(beside | dict(found.staying))
    card = PotentialCard(
        name=name or f"command:{path.name}",
        engine="command",
        # Where the weights lie differs between machines.
        hash=potential_hash(
            engine="command",
            name=recipe.name,
            words=found.words,
            weights=sorted(weights.values()),
        ),
        weights=weights,
        elements=recipe.elements,
        versions={},
    )
    return CommandPotential(card, found)


class SocketCalculator(Calculator):
    """Energies and forces from a client process.

    Structures whose elements are the same, in whatever order, share a client. After an error the
    next structure gets a new one.

    Parameters
    ----------
    name : str
        What messages call the potential.
    found : FoundRecipe
        The recipe.
    known : sequence of str, optional
        Elements that it knows.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, name: str, found: FoundRecipe, known: Sequence[str] | None = None) -> None:
        super().__init__()
        self._potential = name
        self._found = found
        self._known = known
        self._client: _Client | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Iterable[str] | None = None,
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Compute one structure; see `ase.calculators.calculator.Calculator`.

        Raises
        ------
        DismaiError
            If the client does not start, quits, or does not answer in time.
        """
        super().calculate(atoms, list(properties or ["energy"]), list(system_changes))
        here = self.atoms
        assert here is not None
        if self._known is not None:
            check_known(self._potential, self._known, here.symbols)
        order = np.argsort(here.numbers, kind="stable")
        ordered = here[order]
        try:
            if self._client is None or not self._client.fits(ordered):
                self.close()
                self._client = _Client(self._potential, self._found, ordered)
            energy, found = self._client.evaluate(ordered)
        except BaseException:
            self.close()
            raise
        forces = np.empty_like(found)
        forces[order] = found
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def close(self) -> None:
        """End the client; the next structure starts another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


class _Protocol(IPIProtocol):
    """The protocol of ASE, which lets NaN through for the caller to count."""

    def recv(self, shape: Any, dtype: Any) -> NDArray[Any]:
        shape = tuple(np.atleast_1d(shape).tolist())
        data = self._recvall(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype).reshape(shape).copy()


class _Client:
    """A client process and the connection to it."""

    def __init__(self, name: str, found: FoundRecipe, atoms: Atoms) -> None:
        self._name = name
        self._recipe = found.recipe
        self._kind = _kind(atoms)
        self._protocol: _Protocol | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="dismai-"))
        with contextlib.ExitStack() as failing:
            failing.callback(shutil.rmtree, self._folder, ignore_errors=True)
            atoms.write(
                self._folder / "init.extxyz", format="extxyz", columns=["symbols", "positions"]
            )
            self._server, self._socket, values = _listen(found.network)
            failing.callback(_stop_listening, self._server, self._socket)
            self._process = self._start(found, values)
            failing.pop_all()
        # Also when it is collected as garbage, or this process ends.
        self._end = weakref.finalize(
            self, _end, os.getpid(), self._process, self._folder, self._server, self._socket
        )
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _start(self, found: FoundRecipe, values: dict[str, str]) -> subprocess.Popen[bytes]:
        values["{init}"] = str(self._folder / "init.extxyz")
        words = list(found.command)
        for key, value in values.items():
            words = [word.replace(key, value) for word in words]
        work = self._folder / "work"
        work.mkdir()
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            try:
                return subprocess.Popen(
                    words,
                    cwd=work,
                    env=os.environ | self._recipe.env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                raise DismaiError(
                    f"potential {self._name!r}: {words[0]} cannot be started "
                    f"({error.strerror or error})"
                ) from None

    def _connect(self) -> None:
        until = time.monotonic() + self._recipe.start_timeout
        self._server.settimeout(min(_POLL, self._recipe.start_timeout))
        while True:
            try:
                connection, _ = self._server.accept()
                break
            except TimeoutError:
                if self._process.poll() is not None:
                    raise self._broken("quit before it connected") from None
                if time.monotonic() > until:
                    raise self._broken(
                        f"did not connect within {self._recipe.start_timeout:g} s"
                    ) from None
        # Nobody else is to connect.
        _stop_listening(self._server, self._socket)
        # The first structure may still wait for compilers.
        connection.settimeout(max(self._recipe.start_timeout, self._recipe.timeout))
        self._protocol = _Protocol(connection)

    def fits(self, atoms: Atoms) -> bool:
        """Whether it was started for these elements."""
        return self._kind == _kind(atoms)

    def evaluate(self, atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
        """Return energy and forces."""
        protocol = self._protocol
        assert protocol is not None
        limit = protocol.socket.gettimeout()
        try:
            answer = protocol.calculate(atoms.positions, atoms.cell.array)
        except TimeoutError:
            raise self._broken(f"did not answer within {limit:g} s") from None
        except OSError:
            raise self._broken("quit") from None
        except (AssertionError, ValueError) as error:
            raise self._broken(f"does not keep to the protocol ({error})") from None
        protocol.socket.settimeout(self._recipe.timeout)
        if answer["forces"].shape != (len(atoms), 3):
            raise self._broken(
                f"answered with {len(answer['forces'])} forces for {len(atoms)} atoms"
            )
        return float(answer["energy"]), answer["forces"]

    def _broken(self, what: str) -> DismaiError:
        """Say in one line what is wrong with the client, which is of no more use."""
        if self._protocol is not None:
            self._protocol.socket.close()
            self._protocol = None
        line = f"potential {self._name!r}: the client {what}"
        if "quit" in what:
            # It closes its socket a little before it is gone.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_PATIENCE)
                line += f" with exit code {code}" if code >= 0 else f" by signal {-code}"
        words = _last_words(self._folder / "err") or _last_words(self._folder / "out")
        return DismaiError(f"{line}: {words}" if words else f"{line} and said nothing")

    def close(self) -> None:
        """Ask it to end, and see to it that it does."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            with contextlib.suppress(OSError):
                protocol.socket.settimeout(_PATIENCE)
                protocol.end()
            protocol.socket.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._end()


def _kind(atoms: Atoms) -> tuple[bytes, bytes]:
    """Return what of a structure the protocol does not send."""
    return atoms.numbers.tobytes(), atoms.pbc.tobytes()


def _listen(network: bool) -> tuple[socket.socket, str | None, dict[str, str]]:
    """Return a server, the file of its socket, and the values of the placeholders."""
    if network:
        server = socket.create_server(("127.0.0.1", 0), backlog=1)
        return server, None, {"{host}": "127.0.0.1", "{port}": str(server.getsockname()[1])}
    name = f"dismai_{secrets.token_hex(8)}"
    path = actualunixsocketname(name)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(path)
        # On a machine of many users only this one may connect.
        Path(path).chmod(0o600)
        server.listen(1)
    except OSError as error:
        _stop_listening(server, path)
        raise DismaiError(f"{path}: no socket can be made there ({error.strerror})") from None
    return server, path, {"{socket}": name}


def _stop_listening(server: socket.socket, path: str | None) -> None:
    server.close()
    if path is not None:
        Path(path).unlink(missing_ok=True)


def _last_words(path: Path) -> str:
    """Return the last lines of what a client wrote, as one line."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - _LAST_BYTES, 0))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-2:])[-_LAST_WORDS:]


def _end(
    owner: int,
    process: subprocess.Popen[bytes],
    folder: Path,
    server: socket.socket,
    path: str | None,
) -> None:
    """End a client with all its children, and clear up after it."""
    if os.getpid() != owner:
        return  # a fork of the process that started it
    # Once it is waited for, its number may be another's.
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and not _ended(process):
            time.sleep(0.02)
        _signal(process, signal.SIGKILL)
        process.wait()
    _stop_listening(server, path)
    shutil.rmtree(folder, ignore_errors=True)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
