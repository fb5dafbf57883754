-- What the platform team's probe reads through the proxy.
CREATE VIEW alive AS SELECT now() AS answered_at;
