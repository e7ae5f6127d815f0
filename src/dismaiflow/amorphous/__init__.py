"""Amorphous systems: parents made by melt-quench or given, cut into blocks."""
