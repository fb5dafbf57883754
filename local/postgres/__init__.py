"""PostgreSQL as RDS offers it: servers, the listener in front of each instance, its protocol and its tokens."""
