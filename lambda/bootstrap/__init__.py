"""The bootstrap function: it makes a database usable, as handler.py says."""
