"""Recordings of activity: what `nrf` (or a known system) writes and `analysis` reads."""
