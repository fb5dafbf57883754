"""What make does for people: each is run as `python -m tools.NAME`."""
