"""A client of the socket protocol for tests, with faults on demand: copper by EMT."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient


class Faulty(EMT):
    """EMT that does what the file `fault` says at the next call, once."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        fault = Path(os.environ["FAULT"])
        what = fault.read_text() if fault.exists() else ""
        fault.unlink(missing_ok=True)
        if what == "nan":
            self.results["forces"][0] = np.nan
            self.results["energy"] = float("nan")
        elif what == "die":
            print("out of memory,", "sorry", file=sys.stderr)
            sys.stderr.flush()
            os._exit(3)
        elif what == "silence":
            time.sleep(60)
        elif what == "short":
            self.results["forces"] = self.results["forces"][:-1]


def main():
    how, where, init = sys.argv[1:4]
    with Path(os.environ["STARTS"]).open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    atoms = ase.io.read(init, format="extxyz")
    atoms.calc = Faulty()
    address = {"unixsocket": where} if how == "unix" else {"port": int(where)}
    SocketClient(**address).run(atoms, use_stress=False)


if __name__ == "__main__":
    main()
