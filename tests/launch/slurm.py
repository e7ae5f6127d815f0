"""A SLURM cluster of one node, of the Debian packages, that lives as long as a test needs it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dismaiflow.launch.server import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What ``apt-get install slurmctld slurmd slurm-client munge`` brings.
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue")

#: Seconds within which a daemon must answer, and within which cancelled jobs must be gone.
_PATIENCE = 60.0

# Nothing in /etc and /var is used: a cluster that this machine belongs to is not disturbed.
_CONFIGURATION = """\
ClusterName=dismaitest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster.

    Parameters
    ----------
    configuration : Path
        Its slurm.conf, to which ``SLURM_CONF`` leads the commands.
    """

    configuration: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of whoever submits to it; jobs inherit none, as on many clusters."""
        return {"SLURM_CONF": str(self.configuration), "SBATCH_EXPORT": "NONE"}

    def call(self, *words: str) -> str:
        """Run a command of SLURM and return what it says."""
        done = subprocess.run(
            words,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode:
            msg = f"{' '.join(words)}: {done.stderr.strip()}"
            raise RuntimeError(msg)
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """Return the jobs in the queue, by their number, with their state."""
        lines = self.call("squeue", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def cancel(self, *numbers: str) -> None:
        """Cancel jobs, and wait until they have left the queue."""
        self.call("scancel", *numbers)
        self.wait(lambda: not set(numbers) & set(self.jobs()), f"jobs {numbers} do not end")

    def empty(self) -> None:
        """Cancel all jobs."""
        numbers = self.jobs()
        if numbers:
            self.cancel(*numbers)

    def wait(
        self, happens: Callable[[], object], complaint: str, seconds: float = _PATIENCE
    ) -> None:
        """Return once a function says so."""
        deadline = time.monotonic() + seconds
        while not happens():
            if time.monotonic() > deadline:
                raise TimeoutError(complaint)
            time.sleep(0.2)


def missing() -> str | None:
    """Say why no cluster can be started here, None if one can."""
    if os.geteuid() != 0:
        return "SLURM needs root"
    lacking = [name for name in (*DAEMONS, *COMMANDS) if _find(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurmctld slurmd slurm-client munge"
    return None


@contextmanager
def run_slurm(cpus: int = 2) -> Iterator[Slurm]:
    """Run a cluster and end it, with all its jobs, by the process ids that were started here.

    Parameters
    ----------
    cpus : int
        Jobs of one core that run at a time.

    Yields
    ------
    Slurm
        With an idle node. The test is skipped where none can be started.
    """
    reason = missing()
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        # short, as the path of a socket must be
        folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        slurm = _configure(folder, cpus)
        munged = ["munged", "--foreground", f"--key-file={folder}/munge.key"]
        munged += [f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"]
        munged += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
        alive = [stack.enter_context(_daemon(munged, folder))]
        slurm.wait((folder / "munge.socket").exists, _last_words(folder, "munged"))
        for name in ("slurmctld", "slurmd"):
            words = [name, "-D", "-f", str(slurm.configuration)]
            alive.append(stack.enter_context(_daemon(words, folder)))
        stack.callback(_empty, slurm)
        try:
            slurm.wait(lambda: _is_idle(slurm, alive), "the node does not become idle")
        except TimeoutError:
            said = "\n".join(_last_words(folder, name) for name in DAEMONS)
            pytest.skip(f"SLURM does not start here: {said}")
        yield slurm


def _configure(folder: Path, cpus: int) -> Slurm:
    """Write what the daemons read."""
    folder.chmod(0o755)  # munge wants its socket to be reachable
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    slurm = Slurm(folder / "slurm.conf")
    slurm.configuration.write_text(
        _CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            cpus=cpus,
            controller_port=free_port(),
            node_port=free_port(),
        )
    )
    return slurm


@contextmanager
def _daemon(words: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground and end it."""
    program = _find(words[0])
    assert program is not None
    with (folder / f"{words[0]}.said").open("wb") as said:
        process = subprocess.Popen(
            [program, *words[1:]], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_idle(slurm: Slurm, alive: list[subprocess.Popen[bytes]]) -> bool:
    """Say whether the node takes jobs."""
    if any(process.poll() is not None for process in alive):
        raise TimeoutError
    with suppress(RuntimeError, subprocess.TimeoutExpired):
        return slurm.call("sinfo", "--noheader", "--format=%T") == "idle"
    return False


def _empty(slurm: Slurm) -> None:
    """End all jobs: they would outlive the daemons."""
    with suppress(RuntimeError, TimeoutError, subprocess.TimeoutExpired):
        slurm.empty()


def _find(name: str) -> str | None:
    """Return the path of a program; daemons lie where users do not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _last_words(folder: Path, name: str) -> str:
    """Return the end of what a daemon has said."""
    texts = []
    for ending in ("log", "said"):
        with suppress(OSError):
            texts.append((folder / f"{name}.{ending}").read_text(errors="replace")[-500:])
    return f"{name}: {' '.join(texts).strip()}"
