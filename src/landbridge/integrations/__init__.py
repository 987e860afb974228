"""One folder for each product that users can connect."""
