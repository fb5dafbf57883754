"""One rule says what looks like a secret, in two modules and in the policies."""

import json
import re
import sys

import pytest

from tests.plans import ROOT

sys.path.insert(0, str(ROOT / "policies"))  # as checkov does

import secret_rule

# By whether it is a secret: names and values.
CASES = {
    True: [
        ("PGPASSWORD", "hunter"),
        ("DB_PASS", "hunter"),
        ("dbPassword2", "hunter"),
        ("API_KEY", "hunter"),
        ("SIGNING-KEY", "hunter"),
        ("SECRET", "app/prod/database"),
        ("GITHUB_TOKEN", "hunter"),
        ("DATABASE_URL", "postgresql://app:hunter@app.example.com:5432/app"),
        ("DATABASE_URL", "postgresql://:hunter@app.example.com/app"),
        ("DSN", "host=app.example.com user=app password=hunter"),
        ("DSN", '{"user": "app", "password": "hunter"}'),
        ("SETUP", "ALTER ROLE app PASSWORD 'hunter'"),
        ("CLOUD", "AKIAIOSFODNN7EXAMPLE"),
        ("PEM", "-----BEGIN EC PRIVATE KEY-----"),
    ],
    False: [
        ("DB_SECRET", "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"),
        ("DB_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"),
        ("MAX_TOKEN", "4096"),
        ("TOKEN", ""),
        ("REQUIRE_TOKEN", "true"),
        ("COMPASS", "north"),
        ("BYPASS", "yes"),
        ("PASSWORD_FILE", "/run/password"),
        ("DATABASE_URL", "postgresql://app@app.example.com:5432/app"),
        ("HOMEPAGE", "https://example.com:8443/@app"),
        ("PGOPTIONS", "-c password_encryption=scram-sha-256"),
    ],
}


def judged(name: str, value: str) -> bool:
    named = secret_rule.has_secret_name(name) and not secret_rule.is_harmless_value(value)
    return named or secret_rule.is_secret_value(value)


@pytest.mark.parametrize(("secret", "name", "value"), [(secret, *pair) for secret in CASES for pair in CASES[secret]])
def test_a_secret_is_known_by_its_name_or_its_value(secret: bool, name: str, value: str) -> None:
    assert judged(name, value) is secret


@pytest.mark.parametrize("module", ["function", "proxy"])
def test_modules_and_policies_have_the_same_rule(module: str) -> None:
    text = (ROOT / "modules" / module / "secret_rule.tf").read_text()
    rule = {
        name: json.loads(f"[{items.strip().rstrip(',')}]")
        for name, items in re.findall(r"(\w+) = \[\n(.*?)\n\s*\]\n", text, re.DOTALL)
    }
    assert rule == {
        "names": secret_rule.NAMES,
        "values": secret_rule.VALUES,
        "harmless_values": secret_rule.HARMLESS_VALUES,
    }
