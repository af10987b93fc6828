"""Instruments: they measure a network while it trains, and change nothing."""
