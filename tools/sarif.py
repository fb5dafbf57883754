"""Copy a SARIF report without the code it quotes: python -m tools.sarif FROM TO.

checkov quotes the lines that it complains of, passwords in them included, and the report is uploaded. File and lines
remain, by which a reader with access to the repository finds the code.
"""

import json
import sys
from pathlib import Path
from typing import Any

_QUOTES = {"snippet", "rendered", "contents"}


def main(arguments: list[str]) -> str | None:
    source, target = map(Path, arguments)
    try:
        report = json.loads(source.read_text())
    except FileNotFoundError:
        return f"There is no {source}: checkov wrote no report."
    except ValueError:
        return f"{source} is no SARIF report, so {target} was not written."
    finally:
        source.unlink(missing_ok=True)
    target.write_text(json.dumps(without_quotes(report), indent=1) + "\n")
    return None


def without_quotes(part: Any) -> Any:
    """Return a part of a report without what is quoted below it."""
    if isinstance(part, dict):
        return {key: without_quotes(value) for key, value in part.items() if key not in _QUOTES}
    if isinstance(part, list):
        return [without_quotes(item) for item in part]
    return part


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
