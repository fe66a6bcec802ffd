"""Checks of a recording against physiology: estimators, nulls, verdicts, power."""
