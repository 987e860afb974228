"""OpenAPI descriptions of the sandbox's hosts, made from the tables that they are routed by."""
