"""Measures of structures. Pure science: no jobs, no stores."""
