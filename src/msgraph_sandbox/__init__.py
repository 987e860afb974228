"""A local Microsoft: sign-in and OneDrive with state, to develop and test against."""

__version__ = "0.1.0"
