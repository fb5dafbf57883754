"""What terraform output -json says of a root, of one that was made in part too."""

import json
import os
from typing import Any


def values(outputs: str) -> dict[str, Any]:
    """The value of each output."""
    return {name: output["value"] for name, output in json.loads(outputs or "{}").items()}


def region(found: dict[str, Any]) -> str | None:
    """The region of the function, else that of the environment: Terraform knows AWS_REGION, boto3 does not."""
    arn = found.get("function_arn") or ""
    return arn.split(":")[3] if arn.startswith("arn:") else os.environ.get("AWS_REGION")
