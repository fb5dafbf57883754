"""Every place where one change may break a module is found, and the change is what it says."""

from pathlib import Path

import hcl2
import pytest

from tests.mutations.places import in_text, mutations
from tests.plans import ROOT

TEXT = """
locals {
  actions = ["ec2:CreateNetworkInterface"] # not "ec2:DeleteNetworkInterface"
}

resource "aws_thing" "main" {
  for_each = toset(["a"])

  name    = "${var.name}-{x"
  private = true
  ports   = { from = 443, to = 8080 }

  block {
    share = 0.5
  }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "rds.amazonaws.com" }
      Action    = ["kms:*", "kms:Decrypt"]
      Resource  = aws_thing.other.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = var.size >= 20
      error_message = "size must be 20 or more."
    }
  }
}
"""


def changes(kind: str) -> set[tuple[str, str, str]]:
    found = in_text(TEXT, Path("modules/thing/main.tf"))
    return {
        (each.where.removeprefix("aws_thing.main."), each.before, each.after) for each in found if each.kind == kind
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("boolean", {("private", "true", "false"), ("lifecycle.create_before_destroy", "true", "false")}),
        ("number", {("ports", "443", "444"), ("ports", "8080", "8081"), ("block.share", "0.5", "0.25")}),
        ("limit", {("lifecycle.precondition.condition", "20", "21")}),
        ("principal", {("policy.Statement.Principal", '"rds.amazonaws.com"', '"ec2.amazonaws.com"')}),
        (
            "resource",
            {
                ("policy.Statement.Resource", "aws_thing.other.arn", '"*"'),
                ("policy.Statement.Resource", "aws_thing.other.arn", '"arn:aws:iam::111122223333:role/another"'),
            },
        ),
        (
            "action",
            {
                ("locals.actions", '"ec2:CreateNetworkInterface"', '"ec2:*"'),
                ("locals.actions", '"ec2:CreateNetworkInterface"', '"ec2:TagResource"'),
                ("policy.Statement.Action", '"kms:*"', '"kms:Describe*"'),
                ("policy.Statement.Action", '"kms:Decrypt"', '"kms:*"'),
                ("policy.Statement.Action", '"kms:Decrypt"', '"kms:TagResource"'),
            },
        ),
    ],
)
def test_changes_of_a_kind(kind: str, expected: set[tuple[str, str, str]]) -> None:
    assert changes(kind) == expected


def test_arguments_of_resources_and_conditions_of_policies_are_dropped_and_what_terraform_reads_itself_is_not() -> None:
    dropped = {where for where, _, _ in changes("argument")}
    assert dropped == {"name", "private", "ports", "block.share", "policy", "policy.Statement.Condition"}


def test_a_change_touches_its_place_only() -> None:
    for each in in_text(TEXT, Path("main.tf")):
        changed = each.apply(TEXT)
        assert changed != TEXT
        assert (changed[: each.start], changed[each.start + len(each.after) :]) == (
            TEXT[: each.start],
            TEXT[each.end :],
        )
        hcl2.loads(changed)


def test_each_module_has_places_and_each_is_met_once() -> None:
    found = mutations(ROOT)
    assert {each.module for each in found} == {path.parent.name for path in ROOT.glob("modules/*/main.tf")}
    assert len({(each.file, each.start, each.end, each.after) for each in found}) == len(found) > 166
