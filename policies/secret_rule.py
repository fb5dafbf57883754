"""What looks like a secret, by name and by value: as in modules/*/secret_rule.tf, to which a test holds it."""

import re

NAMES = [
    r"(^|[^a-z])pass",
    r"(^|[^a-z])pw",
    r"password",
    r"passwd",
    r"passphrase",
    r"pwd",
    r"secret",
    r"token",
    r"credentials?",
    r"(access|api|encryption|private|secret|signing)[_-]?key",
]
VALUES = [
    r"://[^/?#@:\s]*:[^/?#@\s]+@",
    r"""(password|passwd|passphrase|pwd)["']?\s*[=:]\s*["']?[^\s"']""",
    r"password\s+'",
    r"\b(akia|asia)[0-9a-z]{16}\b",
    r"-----begin [a-z ]*private key",
    r"x-amz-signature=",
    r"\b(gh[opsu]_|github_pat_|xox[abp]-|sk_live_)[0-9a-z]",
]
HARMLESS_VALUES = [
    r"arn:.*",
    r"[-+]?[0-9.]*",
    r"true|false",
]

_NAME = re.compile(rf"({'|'.join(NAMES)})_?[0-9]*$", re.IGNORECASE)
_VALUE = re.compile("|".join(VALUES), re.IGNORECASE)
_HARMLESS_VALUE = re.compile(f"^({'|'.join(HARMLESS_VALUES)})$")


def has_secret_name(name: str) -> bool:
    return _NAME.search(name) is not None


def is_secret_value(value: str) -> bool:
    return _VALUE.search(value) is not None


def is_harmless_value(value: str) -> bool:
    return _HARMLESS_VALUE.search(value) is not None
