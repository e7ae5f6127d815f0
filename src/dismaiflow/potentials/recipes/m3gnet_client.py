"""The client of m3gnet-0.0.7.yaml: computes what it is sent with M3GNet in TensorFlow.

It runs in the environment of m3gnet 0.0.7, with Python 3.9 and ASE 3.22, and needs nothing else.
"""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Connect, and compute until the server has enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the weights")
    parser.add_argument("--socket", required=True, help="name of the Unix socket")
    parser.add_argument("--init", required=True, help="structure with the species")
    given = parser.parse_args()
    # M3GNet.load would try to download a model whose folder it does not find.
    if not os.path.isfile(os.path.join(given.model, "m3gnet.json")):  # noqa: PTH113, PTH118
        raise SystemExit(f"{given.model}: holds no weights of m3gnet (m3gnet.json)")

    from ase.calculators.socketio import SocketClient
    from ase.io.extxyz import read_extxyz
    from m3gnet.models import (  # type: ignore[import-not-found]
        M3GNet,
        M3GNetCalculator,
        Potential,
    )

    with open(given.init) as stream:  # noqa: PTH123
        atoms = next(read_extxyz(stream, index=0))
    atoms.calc = M3GNetCalculator(Potential(M3GNet.load(given.model)), compute_stress=False)
    SocketClient(unixsocket=given.socket).run(atoms, use_stress=False)


if __name__ == "__main__":
    main()
