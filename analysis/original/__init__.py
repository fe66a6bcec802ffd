"""Formulas of the published analysis that this project follows, defects included, to compare with its numbers."""
