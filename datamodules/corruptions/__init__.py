"""Corruptions: pure functions of (data, seed)."""
