"""Landbridge as a customer would embed it: a small host application, and a demonstration of the whole."""
