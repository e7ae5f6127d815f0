"""Tests of tables and reports."""
