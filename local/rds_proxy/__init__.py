"""The stand-in for RDS Proxy: a listener for its clients, a session for each, a pool of server connections."""
