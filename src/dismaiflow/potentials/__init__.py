"""Interatomic potentials: calculators by name, relaxation, here and in other environments."""
