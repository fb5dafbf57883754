"""The stack on one machine: an AWS control plane, PostgreSQL, a stand-in for RDS Proxy and Lambda's runtime."""
