"""The engine of the present: features of one user kept up to date event by event, equal to those of DuckDB.

`plan` says what has to be kept of each source, `rows` keeps it, `fold` sums up what has left all windows,
`values` computes features as of a time T, `user` is one user's state, `store` keeps the states of all.
"""
