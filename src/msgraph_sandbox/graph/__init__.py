"""Microsoft Graph's face of drives: addresses, JSON shapes, and what each request does."""
