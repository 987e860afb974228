"""What actions are given, and what they give: the only schema there is."""
