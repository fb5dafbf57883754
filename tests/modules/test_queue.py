import json

import pytest

from tests.grants import grants
from tests.plans import ARGUMENTS, Plan, Refusals, arn, plan_standing, plan_variants

ALIAS = ARGUMENTS["queue"]["function"]
KEY = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000003"

POLLS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")

REFUSALS: Refusals = {
    "name": ({"name": "app messages"}, "name must be 1 to 73 letters"),
    "fifo": ({"name": "app.fifo"}, "name must be 1 to 73 letters"),
    "long_name": ({"name": "q" * 74}, "name must be 1 to 73 letters"),
    "one_at_once": ({"maximum_concurrency": 1}, "must be a whole number from 2 to 1000"),
    "too_many_at_once": ({"maximum_concurrency": 1001}, "must be a whole number from 2 to 1000"),
    "above_the_reserve": (
        {"maximum_concurrency": 21},
        "maximum_concurrency 21 is above the function's reserved_concurrency 20",
    ),
    "no_batch": ({"batch": {"size": 0}}, "batch.size must be a whole number from 1 to 10000"),
    "large_batch": ({"batch": {"size": 10001, "window_seconds": 1}}, "batch.size must be a whole number from 1 to"),
    "long_window": ({"batch": {"window_seconds": 301}}, "batch.window_seconds must be a whole number from 0 to 300"),
    "batch_without_window": ({"batch": {"size": 11}}, "batch.window_seconds must be at least 1 where batch.size is"),
    "few_receives": ({"max_receives": 4}, "max_receives must be a whole number from 5 to 1000"),
    "many_receives": ({"max_receives": 1001}, "max_receives must be a whole number from 5 to 1000"),
    "no_retention": ({"retention_days": 0}, "retention_days must be from 1 to 13"),
    "retention_of_the_failed": ({"retention_days": 14}, "retention_days must be from 1 to 13"),
    "alias": ({"key_arn": "alias/messages"}, "key_arn must be the ARN of a KMS key"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "queue",
        queue={},
        own_key={"key_arn": KEY},
        large={"batch": {"size": 1000, "window_seconds": 20}, "maximum_concurrency": 20},
        unreserved={"function": {**ALIAS, "reserved_concurrency": None}, "maximum_concurrency": 1000},
    )


@pytest.fixture(scope="module")
def standing() -> Plan:
    return plan_standing("queue", key_arn=KEY)


def test_messages_stay_hidden_for_six_timeouts_and_the_window(plan: Plan) -> None:
    assert plan["module.queue.aws_sqs_queue.main"]["visibility_timeout_seconds"] == 6 * 15
    assert plan["module.large.aws_sqs_queue.main"]["visibility_timeout_seconds"] == 6 * 15 + 20


def test_a_failed_message_is_kept_longer_than_it_could_wait(plan: Plan) -> None:
    queue, failed = (plan[f"module.queue.aws_sqs_queue.{name}"] for name in ("main", "failed"))
    assert (queue["message_retention_seconds"], failed["message_retention_seconds"]) == (4 * 86400, 14 * 86400)
    assert (queue["name"], failed["name"]) == ("app", "app-failed")


def test_polls_wait_for_messages(plan: Plan) -> None:
    assert plan["module.queue.aws_sqs_queue.main"]["receive_wait_time_seconds"] == 20


@pytest.mark.parametrize("queue", ["main", "failed"])
def test_messages_are_encrypted_with_sqs_s_key_or_with_one_s_own(plan: Plan, queue: str) -> None:
    assert plan[f"module.queue.aws_sqs_queue.{queue}"]["sqs_managed_sse_enabled"] is True
    assert plan[f"module.own_key.aws_sqs_queue.{queue}"]["kms_master_key_id"] == KEY


def test_only_failed_messages_come_again(plan: Plan) -> None:
    mapping = plan["module.queue.aws_lambda_event_source_mapping.main"]
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert mapping["function_name"] == ALIAS["arn"]
    assert (mapping["batch_size"], mapping["maximum_batching_window_in_seconds"]) == (10, 0)


@pytest.mark.parametrize(("call", "maximum"), [("queue", 10), ("large", 20), ("unreserved", 1000)])
def test_the_queue_takes_a_part_of_the_function_s_reserve(plan: Plan, call: str, maximum: int) -> None:
    mapping = plan[f"module.{call}.aws_lambda_event_source_mapping.main"]
    assert mapping["scaling_config"] == [{"maximum_concurrency": maximum}]


def test_the_function_s_role_may_poll_this_queue_and_no_more(standing: Plan) -> None:
    policy = standing["module.queue.aws_iam_role_policy.poll"]
    assert policy["role"] == ALIAS["role"]
    assert grants(policy["policy"]) == {
        *(f"Allow sqs:{action} on {arn('aws_sqs_queue', 'main')}" for action in POLLS),
        f"Allow kms:Decrypt on {KEY} if kms:ViaService StringLike sqs.*.amazonaws.com",
    }


def test_both_queues_refuse_requests_without_tls(standing: Plan) -> None:
    for queue in ("main", "failed"):
        policy = standing[f'module.queue.aws_sqs_queue_policy.tls["{queue}"]']["policy"]
        [statement] = json.loads(policy)["Statement"]
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"] == arn("aws_sqs_queue", queue)
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_after_five_tries_a_message_is_kept_aside(standing: Plan) -> None:
    redrive = json.loads(standing["module.queue.aws_sqs_queue.main"]["redrive_policy"])
    assert redrive == {"deadLetterTargetArn": arn("aws_sqs_queue", "failed"), "maxReceiveCount": 5}
