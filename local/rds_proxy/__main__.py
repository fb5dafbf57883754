"""Put the stand-in in front of a PostgreSQL server: python -m local.rds_proxy URL."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
