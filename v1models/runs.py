"""The earlier name of `saved`, under which notebooks import `load`; `v1models.load` is the same function."""

from v1models.saved import load

__all__ = ["load"]
