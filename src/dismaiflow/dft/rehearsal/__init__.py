"""A rehearsal of VASP: reads its inputs and writes its outputs, driven by an interatomic potential.

Nothing that it writes is DFT, and all of it says so.
"""
