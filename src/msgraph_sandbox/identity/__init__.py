"""Microsoft's sign-in: who there is, what they may ask for, and the endpoints that hand out tokens."""
