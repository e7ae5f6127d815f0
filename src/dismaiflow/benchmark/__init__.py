"""Scoring: post-process, fingerprint, compare, beside the published tables and the controls."""
