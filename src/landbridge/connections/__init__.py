"""Connected users and their accounts: signing in at the provider, tokens kept fresh, settings, disconnecting."""
