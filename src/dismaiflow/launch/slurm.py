"""Jobs in the queue of SLURM: which there are, how one is, and its end."""

from __future__ import annotations

import shutil
import subprocess

#: How long a command of SLURM may take to answer [s].
_SECONDS = 30.0

#: What SLURM says of a job that has left the queue.
_UNKNOWN_JOB = "invalid job id"

#: State of a job that SLURM does not know any more.
GONE = "no longer in the queue"


def queued_jobs() -> set[str] | None:
    """Return the numbers of all jobs in the queue, None where it cannot be asked."""
    code, lines = _call("squeue", "-h", "-o", "%i")
    return None if code else {line.strip() for line in lines}


def queue_state(number: str) -> str:
    """Return how a queue job is.

    Parameters
    ----------
    number : str
        What ``sbatch`` called it.

    Returns
    -------
    str
        SLURM's state and reason, such as ``PENDING (Resources)``; `GONE`; or that it is unknown,
        and why.
    """
    code, lines = _call("squeue", "-h", "-j", number, "-o", "%T %r")
    said = lines[-1] if lines else ""
    if _UNKNOWN_JOB in said.lower() or not (code or said):
        return GONE
    if code:
        return f"in a state that squeue does not tell ({said})"
    state, _, reason = said.partition(" ")
    return f"{state} ({reason})" if reason not in ("", "None") else state


def cancel(number: str) -> str | None:
    """Cancel a queue job.

    Parameters
    ----------
    number : str
        What ``sbatch`` called it.

    Returns
    -------
    str or None
        Why it could not be cancelled; None when it is no more.
    """
    code, lines = _call("scancel", number)
    said = lines[-1] if lines else ""
    if code == 0 or _UNKNOWN_JOB in said.lower():
        return None
    return said


def _call(*words: str) -> tuple[int, list[str]]:
    """Return the exit code of a command and the lines that it says."""
    if shutil.which(words[0]) is None:
        return 127, [f"no {words[0]} here"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 124, [f"{words[0]} does not answer"]
    except OSError as error:
        return 126, [f"{words[0]}: {error.strerror}"]
    if done.returncode == 0:
        return 0, done.stdout.strip().splitlines()
    silent = f"{words[0]} ended with {done.returncode}"
    return done.returncode, done.stderr.strip().splitlines() or [silent]
