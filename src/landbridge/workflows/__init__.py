"""Workflows as data: what they are, what they mean, and what is wrong with them."""
