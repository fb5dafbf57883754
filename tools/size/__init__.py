"""How many connections, which class and what money a load takes, before anything is deployed.

Only the standard library: `make size` answers in a fresh clone.
"""
