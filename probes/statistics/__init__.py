"""Intervals, bands and tests for what was measured."""
