"""What an environment declares of a function of its own: terraform/ENV/function_override.tf.json."""

from __future__ import annotations

import json
from pathlib import Path

OVERRIDE = "function_override.tf.json"


def declaration(environment: Path) -> dict[str, str]:
    """Return FUNCTION, HANDLER, ARCH and PYTHON_VERSION, as make wrote them; {} where it wrote none."""
    try:
        declared = json.loads((environment / OVERRIDE).read_text(encoding="utf-8")).get("//")
    except FileNotFoundError:
        return {}
    return declared if isinstance(declared, dict) and declared.keys() >= {"FUNCTION", "HANDLER"} else {}
