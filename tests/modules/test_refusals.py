"""Wrong arguments of every module are refused at plan, by a message that names the rule.

The cases stand beside what else is tested of a module. All of them are refused together: a plan for each module, or
case, would take most of the time of these tests.
"""

import re

import pytest

from tests.modules import (
    test_bootstrap,
    test_cluster,
    test_database,
    test_function,
    test_http,
    test_network,
    test_observability,
    test_proxy,
    test_queue,
)
from tests.plans import ROOT, plan_refusals

CASES = {
    f"{module}_{case}": (module, arguments, phrase)
    for module, cases in {
        "network": test_network.REFUSALS,
        "database": test_database.REFUSALS,
        "cluster": test_cluster.REFUSALS,
        "bootstrap": test_bootstrap.REFUSALS,
        "proxy": test_proxy.REFUSALS,
        "function": test_function.REFUSALS,
        "http": test_http.REFUSALS,
        "queue": test_queue.REFUSALS,
        "observability": test_observability.REFUSALS,
    }.items()
    for case, (arguments, phrase) in cases.items()
}


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals({case: (module, arguments) for case, (module, arguments, _) in CASES.items()})


@pytest.mark.parametrize("case", CASES)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert CASES[case][2] in refusals[case]


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("function_secret_by")])
def test_a_refusal_repeats_no_secret(refusals: dict[str, str], case: str) -> None:
    assert "hunter" not in refusals[case]


def test_tables_in_the_readmes_show_what_terraform_says(refusals: dict[str, str]) -> None:
    """What is refused of a later change, and warnings, are tested elsewhere."""
    said = " ".join(" ".join(refusals.values()).split())
    rows = [
        (readme.parent.name, row[1], row[2])
        for readme in ROOT.glob("modules/*/README.md")
        for row in re.finditer(r"^\| `(\S+)` \| an error \| (.*) \|$", readme.read_text(), re.MULTILINE)
        if not row[1].startswith("terraform_data.") and "cannot change" not in row[2]
    ]
    assert len(rows) > 50
    assert [row for row in rows if row[2] not in said] == []
