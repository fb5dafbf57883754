"""An application on a local stack."""

from tests.local.deployment import deployment

__all__ = ["deployment"]
