"""Checks of files of reference arrays, from the tests and from the command line."""
