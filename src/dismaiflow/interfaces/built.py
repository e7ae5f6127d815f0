"""Interfaces that a process has built, kept for its next job."""

from __future__ import annotations

from functools import lru_cache

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems import SystemSpec


def built_system(spec: SystemSpec) -> InterfaceSystem:
    """Build the slabs of a spec once in a process; they take longer than the structures."""
    return _system(spec.to_yaml())


def built_generator(spec: SystemSpec) -> RandomInterfaces:
    """Return the generator of a spec, whose tables are kept between jobs of a process too."""
    return _generator(spec.to_yaml())


@lru_cache(maxsize=8)
def _system(yaml: str) -> InterfaceSystem:
    return InterfaceSystem.from_spec(SystemSpec.from_yaml(yaml))


@lru_cache(maxsize=8)
def _generator(yaml: str) -> RandomInterfaces:
    system = _system(yaml)
    return RandomInterfaces(system.host, system.spec.interface, system.spec.species)
