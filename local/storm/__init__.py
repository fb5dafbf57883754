"""A storm of connections at max_connections, directly and through the proxy, and its picture."""
