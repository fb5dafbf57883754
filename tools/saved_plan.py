"""What terraform show -json says of a saved plan."""

import os
from typing import Any


def region(plan: dict[str, Any]) -> str | None:
    """The region that the root names, else that of the environment: Terraform knows AWS_REGION, boto3 does not."""
    provider = plan.get("configuration", {}).get("provider_config", {}).get("aws", {})
    named: str | None = provider.get("expressions", {}).get("region", {}).get("constant_value")
    return named or os.environ.get("AWS_REGION")
