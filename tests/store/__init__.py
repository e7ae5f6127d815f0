"""Tests of the embedded store and of blobs."""
