"""Landbridge: an embedded integration platform that a software company runs beside its own product."""

__version__ = "0.1.0"
