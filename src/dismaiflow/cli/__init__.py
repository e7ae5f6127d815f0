"""The ``dismai`` command. It parses, calls and prints; the work is done elsewhere."""
