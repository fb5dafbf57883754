import json

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from local.aws.corrections import functions
from local.lambda_runtime.function import TooManyRequestsError
from tools import invoke as tool


class Clock:
    """Seconds that pass only in sleep."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Answers:
    """A client that raises or answers what it is given, in order; the last again and again."""

    def __init__(self, *answers, state="Active", reason=""):
        self.answers = list(answers)
        self.invocations = 0
        self.state, self.reason = state, reason

    def invoke(self, **_):
        self.invocations += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get_function_configuration(self, **_):
        return {"State": self.state, "StateReason": self.reason}


def refusal(code, **more):
    return ClientError({"Error": {"Code": code, "Message": "as told"}, **more}, "Invoke")


def invoked(client):
    clock = Clock()
    return tool.invoke(client, "arn", "{}", clock=clock, sleep=clock.sleep), clock.now


def test_an_idle_function_is_awaited_and_invoked(account, plane, monkeypatch, capsys):
    monkeypatch.setattr(tool, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(functions, "RESTORE_SECONDS", 10)
    arn = account.function("idle")["FunctionArn"]
    plane.fall_idle("idle")
    assert tool.main(arn, '{"a": 1}') is None
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": 1}
    assert "is Pending: The function is being restored. Waiting up to 10 minutes." in said.err


def test_a_throttled_function_is_invoked_again(account, plane, monkeypatch, capsys):
    arn = account.function("throttled")["FunctionArn"]
    answer, left = plane.events.answer, [1]

    def throttle(function, payload):
        if left:
            left.pop()
            raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")
        return answer(function, payload)

    monkeypatch.setattr(plane.events, "answer", throttle)
    assert tool.main(arn, "{}") is None
    assert "All of the function's reserved concurrency is in use. Trying again in 1 s." in capsys.readouterr().err


@pytest.mark.parametrize("code", sorted(tool.NOT_READY))
def test_what_is_not_ready_is_tried_again_once_it_is_active(code):
    client = Answers(refusal(code), {"Payload": None})
    assert invoked(client) == ({"Payload": None}, tool.POLL_SECONDS)
    assert client.invocations == 2


def test_waiting_for_a_function_has_an_end():
    client = Answers(refusal("CodeArtifactUserPendingException"), state="Pending")
    clock = Clock()
    with pytest.raises(tool.NotInvokedError, match="not ready within 10 minutes"):
        tool.invoke(client, "arn", "{}", clock=clock, sleep=clock.sleep)
    assert clock.now == tool.READY_SECONDS


def test_a_function_that_lambda_gave_up_is_named_with_the_reason():
    client = Answers(refusal("ResourceConflictException"), state="Failed", reason="No addresses left.")
    with pytest.raises(tool.NotInvokedError, match=r"Failed: No addresses left\."):
        invoked(client)


def test_being_throttled_has_an_end():
    client = Answers(refusal("TooManyRequestsException", Reason="ConcurrentInvocationLimitExceeded"))
    clock = Clock()
    with pytest.raises(tool.NotInvokedError, match="The account's concurrency is in use"):
        tool.invoke(client, "arn", "{}", clock=clock, sleep=clock.sleep)
    assert clock.now <= tool.THROTTLED_SECONDS


@pytest.mark.parametrize(
    "error", [refusal("ServiceException"), refusal("Unknown"), ReadTimeoutError(endpoint_url="https://lambda")]
)
def test_work_that_may_have_begun_is_never_begun_again(error):
    client = Answers(error)
    with pytest.raises(type(error)):
        invoked(client)
    assert client.invocations == 1


def test_an_event_that_is_no_json_is_refused_before_anything_is_invoked():
    assert "EVENT must be JSON" in tool.main("arn", "{")
