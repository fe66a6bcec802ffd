"""Measures of activity: functions from plain arrays to plain arrays."""
