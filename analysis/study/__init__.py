"""A sweep of recorded fields as one experiment: every network is a unit, every field that varies a factor."""
