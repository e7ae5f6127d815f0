"""Disordered systems as data: their specs, and the registry that finds them by name."""

from __future__ import annotations

from dismaiflow.systems.registry import get_system, list_systems, load_catalogue, new_system_yaml
from dismaiflow.systems.spec import SystemSpec

__all__ = ["SystemSpec", "get_system", "list_systems", "load_catalogue", "new_system_yaml"]
