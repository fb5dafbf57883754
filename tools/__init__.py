"""What make calls for people."""
