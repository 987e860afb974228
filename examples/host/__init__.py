"""A small product that embeds Landbridge: one page with the browser SDK, and a backend that signs its users' tokens."""
