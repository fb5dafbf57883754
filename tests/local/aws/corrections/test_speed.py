"""moto's own ways, which cost seconds of a test run and of each demo, are not taken."""

from moto.iam.models import iam_backends

from tests.local.account import Account


def test_only_the_partition_that_is_used_gets_the_policies_of_aws(account: Account) -> None:
    account.sts.get_caller_identity()
    account.ec2.describe_vpcs()
    assert {tuple(partitions) for partitions in iam_backends.values()} == {("aws",)}


def test_a_policy_of_aws_is_each_account_s_own(account: Account) -> None:
    role = account.role("reader")
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    assert role
    account.iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
    first = iam_backends["123456789012"]["aws"].managed_policies[arn]
    other = iam_backends["210987654321"]["aws"].managed_policies[arn]
    assert (first.attachment_count, other.attachment_count) == (1, 0)
    assert (first.account_id, other.account_id) == ("123456789012", "210987654321")
