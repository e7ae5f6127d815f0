"""Alloys: cluster expansion, Monte Carlo, sampling, datasets."""
