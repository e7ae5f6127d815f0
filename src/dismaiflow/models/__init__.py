"""Generative models: the protocol they follow, and the baselines every score stands beside."""
