"""Tables and figures of fitted models of V1."""
