"""Density functional theory: VASP as Makers, frames of relaxations, and a rehearsal of it all."""
