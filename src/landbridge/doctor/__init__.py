"""Checks an installation and its settings at Microsoft before a user meets the error, and says what to do."""
