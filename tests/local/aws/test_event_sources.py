"""Queues that feed a function: batches, partial answers, visibility, dead letters, maximum concurrency."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.cloudwatch.models import cloudwatch_backends

from local.aws.cloudwatch.alarms import store_of
from local.aws.control_plane import ControlPlane
from local.aws.event_sources import failed_of
from local.lambda_runtime.function import FunctionVersion, Invocation, TooManyRequestsError
from local.monitoring import publish_queues
from tests.local.account import REGION, Account, Recorder, allow, running
from tests.local.fronts import ACCOUNT, Fed
from tests.waiting import await_that

MINUTE_SECONDS = 0.5  # a visibility timeout of 30 s lasts 0.25 s


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder(), metric_minute_seconds=MINUTE_SECONDS)) as plane:
        yield plane


@pytest.fixture
def feed(account: Account, events: Recorder) -> Iterator[Callable[..., Fed]]:
    made: list[Fed] = []

    def make(name: str, **settings: Any) -> Fed:
        made.append(Fed(account, events, name, **settings))
        return made[-1]

    yield make
    for fed in made:
        fed.stop()


def test_a_message_reaches_the_function_once_and_is_deleted(feed: Callable[..., Fed]) -> None:
    fed = feed("one")
    attribute = {"kind": {"DataType": "String", "StringValue": "new"}}
    fed.send("hello", MessageAttributes=attribute)
    await_that(lambda: len(fed.batches) == 1 and fed.left(fed.url) == 0)
    [[record]] = fed.batches
    assert (record["body"], record["eventSource"], record["awsRegion"]) == ("hello", "aws:sqs", REGION)
    assert record["eventSourceARN"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:one"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["md5OfBody"] == "5d41402abc4b2a76b9719d911017c592"
    assert record["messageAttributes"]["kind"] == {
        "stringValue": "new", "stringListValues": [], "binaryListValues": [], "dataType": "String",
    }  # fmt: skip


def test_only_the_messages_that_failed_come_again_and_at_last_are_kept_aside(feed: Callable[..., Fed]) -> None:
    fed = feed("partial", BatchSize=10)
    fed.answer = lambda records: {
        "batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in records if one["body"] == "bad"]
    }
    began = time.monotonic()
    fed.send("good", "bad", "fine")
    await_that(lambda: fed.left(fed.failed) == 1)
    assert fed.left(fed.url) == 0
    assert sorted(fed.bodies()) == ["bad", "bad", "fine", "good"]
    assert time.monotonic() - began >= 2 * 30 * MINUTE_SECONDS / 60


@pytest.mark.parametrize("answer", ["raise", "stranger"])
def test_an_error_or_a_stranger_s_id_brings_the_whole_batch_again(feed: Callable[..., Fed], answer: str) -> None:
    fed = feed(f"whole-{answer}")

    def fail(_: Any) -> object:
        if answer == "raise":
            raise ValueError
        return {"batchItemFailures": [{"itemIdentifier": "of-nobody"}]}

    fed.answer = fail
    fed.send("a", "b")
    await_that(lambda: fed.left(fed.failed) == 2)
    assert sorted(fed.bodies()) == ["a", "a", "b", "b"]


def test_without_partial_answers_they_are_not_read(feed: Callable[..., Fed]) -> None:
    fed = feed("plain", FunctionResponseTypes=[])
    fed.answer = lambda records: {"batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in records]}
    fed.send("a")
    await_that(lambda: len(fed.batches) == 1 and fed.left(fed.url) == 0)


def test_no_more_batches_are_worked_on_than_the_maximum_and_the_rest_is_not_received(feed: Callable[..., Fed]) -> None:
    fed = feed("maximum", BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    go_on = threading.Event()
    fed.answer = lambda _: go_on.wait(5) and {}
    fed.send(*map(str, range(6)))
    await_that(lambda: fed.working == 2)
    time.sleep(0.3)
    names = ["ApproximateNumberOfMessages"]
    waiting = fed.sqs.get_queue_attributes(QueueUrl=fed.url, AttributeNames=names)["Attributes"]
    assert waiting == {"ApproximateNumberOfMessages": "4"}
    go_on.set()
    await_that(lambda: fed.left(fed.url) == 0)
    assert (fed.most_working, sorted(fed.bodies())) == (2, [*"012345"])


def test_what_is_worked_on_is_in_flight_and_has_no_age(feed: Callable[..., Fed]) -> None:
    fed = feed("flight")
    go_on = threading.Event()
    fed.answer = lambda _: go_on.wait(5) and {}
    fed.send("a")
    await_that(lambda: fed.working == 1)
    publish_queues(time.time())
    go_on.set()
    store = store_of(cloudwatch_backends[ACCOUNT][REGION])
    found = {
        one: store.window(one, 0, 2**40) for one in store.metrics() if dict(one.dimensions) == {"QueueName": "flight"}
    }
    assert {metric.name: values.total for metric, values in found.items()} == {
        "ApproximateNumberOfMessagesVisible": 0,
        "ApproximateNumberOfMessagesNotVisible": 1,
    }


def test_a_throttled_batch_is_tried_again_without_another_receive(feed: Callable[..., Fed], events: Recorder) -> None:
    fed, tries = feed("throttled"), []
    run = events.answer

    def throttle(function: FunctionVersion, payload: bytes) -> Invocation:
        tries.append(payload)
        if len(tries) < 3:
            raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")
        return run(function, payload)

    events.answer = throttle
    fed.send("a")
    await_that(lambda: fed.left(fed.url) == 0)
    assert (len(tries), fed.batches[0][0]["attributes"]["ApproximateReceiveCount"]) == (3, "1")


def test_a_window_gathers_messages(feed: Callable[..., Fed]) -> None:
    fed = feed("window", BatchSize=100, MaximumBatchingWindowInSeconds=1)
    fed.send(*map(str, range(3)))
    time.sleep(0.3)
    fed.send("late")
    await_that(lambda: fed.left(fed.url) == 0)
    assert [len(batch) for batch in fed.batches] == [4]


def test_a_role_that_may_no_longer_poll_gets_nothing(feed: Callable[..., Fed]) -> None:
    fed = feed("revoked")
    fed.account.iam.delete_role_policy(RoleName=fed.role.rpartition("/")[2], PolicyName="main")
    fed.send("a")
    time.sleep(0.6)
    assert (fed.batches, fed.left(fed.url)) == ([], 1)


def test_a_key_of_one_s_own_needs_the_role_s_right_to_decrypt(feed: Callable[..., Fed]) -> None:
    fed = feed("key", attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    key = fed.account.kms.create_key()["KeyMetadata"]["Arn"]
    fed.sqs.set_queue_attributes(QueueUrl=fed.url, Attributes={"KmsMasterKeyId": key})
    fed.send("a")
    time.sleep(0.6)
    assert fed.batches == []
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow("kms:Decrypt", key)]})
    fed.account.iam.put_role_policy(RoleName=fed.role.rpartition("/")[2], PolicyName="key", PolicyDocument=policy)
    await_that(lambda: fed.left(fed.url) == 0)


def test_a_mapping_that_is_disabled_or_deleted_polls_no_more(feed: Callable[..., Fed]) -> None:
    fed = feed("disabled")
    fed.functions.update_event_source_mapping(UUID=fed.mapping, Enabled=False)
    fed.send("a")
    time.sleep(0.6)
    assert fed.batches == []
    fed.functions.update_event_source_mapping(UUID=fed.mapping, Enabled=True)
    await_that(lambda: fed.left(fed.url) == 0)


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (b"", set()),
        (b"null", set()),
        (b"{}", set()),
        (b'{"batchItemFailures": null}', set()),
        (b'{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', {"a", "b"}),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', {"a", "b"}),
        (b'{"batchItemFailures": [{"id": "a"}]}', {"a", "b"}),
        (b'{"batchItemFailures": [{"itemIdentifier": "c"}]}', {"a", "b"}),
        (b'"done"', {"a", "b"}),
        (b"not json", {"a", "b"}),
    ],
)
def test_an_answer_names_what_failed(answer: bytes, failed: set[str]) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source": success and failure conditions."""
    assert failed_of(answer, ["a", "b"]) == failed
