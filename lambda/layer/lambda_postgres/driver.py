"""Import psycopg2, first and without Python's ssl module: a third of a cold start's imports.

psycopg2 imports ssl only to keep libpq from setting up OpenSSL's locks a second time. OpenSSL has had none since 1.1.0,
and psycopg2 does without where Python has no ssl. A function that needs ssl imports it as ever.
"""

import sys

if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import psycopg2  # noqa: F401
    finally:
        del sys.modules["ssl"]
