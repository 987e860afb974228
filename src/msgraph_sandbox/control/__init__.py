"""The control API: what a test does to the sandbox from outside. `docs/reference/sandbox.md` describes it.

Every address is below `/_sandbox` on the control origin, which listens on loopback and asks for no credentials.
"""
