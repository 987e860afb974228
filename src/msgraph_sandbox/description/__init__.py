"""OpenAPI descriptions of the sign-in host and of Graph, made from the tables that they are routed by."""
