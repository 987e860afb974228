"""A OneDrive: items in a tree with contents, a log of changes, and the rules that Microsoft has for them."""
