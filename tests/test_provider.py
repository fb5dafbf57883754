"""What plans are told by a provider that runs already is what Terraform's own would tell them."""

import json
from pathlib import Path

import pytest

from tests import plans
from tests.provider import names, shortened


@pytest.fixture(scope="module")
def root() -> Path:
    return plans.calls_root({"database": ("database", {}), "function": ("function", {})})


def test_a_plan_is_the_same(root: Path) -> None:
    def planned() -> object:
        document = plans.plan_folder(root).document
        del document["timestamp"]
        document["relevant_attributes"].sort(key=json.dumps)  # they come in any order
        return document

    through_the_relay = planned()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(plans, "terraform", plans.terraform_alone)
        assert planned() == through_the_relay


def test_a_type_that_the_tree_does_not_name_is_refused(tmp_path: Path) -> None:
    unnamed = "aws_" + "glacier_vault"
    assert unnamed not in names()
    (tmp_path / "main.tf.json").write_text(json.dumps({"resource": {unnamed: {"main": {"name": "vault"}}}}))
    with pytest.raises(plans.PlanError, match="Invalid resource type"):
        plans.plan_folder(tmp_path)


def test_what_has_no_name_stays_in_the_schema() -> None:
    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def entry(number: int, key: bytes) -> bytes:
        return field(number, field(1, key) + field(2, b"schema"))

    provider, capabilities = field(1, b"schema"), field(6, b"")
    kept = [provider, entry(2, b"aws_vpc"), entry(3, b"aws_region"), capabilities]
    dropped = [entry(2, b"aws_glue_job"), entry(3, b"aws_ami"), entry(8, b"aws_lambda_invocation")]
    assert shortened(b"".join([*kept, *dropped]), {"aws_vpc", "aws_region"}) == b"".join(kept)
