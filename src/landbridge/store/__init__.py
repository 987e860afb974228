"""The only room that speaks SQL: tables, queries, migrations, and what caches must forget.

A module of queries for each subject (`projects`, `connections`, `sign_ins`); each query takes a `Transaction` from
`Database.begin` or `Database.read` and gives frozen rows. No transaction is held while anybody talks to a provider.
"""
