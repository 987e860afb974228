"""`make bench`: what Landbridge promises in figures, measured against a reference in the same run."""
