"""The example that writes, on a real PostgreSQL through the stand-in for RDS Proxy."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from lambda_postgres import ConnectionLost, Keeper, PoolExhausted

from tests.local.deployment import OUTPUT, Deployment, deployment  # noqa: F401
from tests.plans import ROOT
from tools.await_target import await_target

EXAMPLE = ROOT / "examples" / "users-api"
ENVIRONMENTS = 8


class Api:
    """The example in several execution environments that share the proxy."""

    def __init__(self, keepers: list[Keeper]) -> None:
        self.apps = [load(keeper) for keeper in keepers]

    def __call__(
        self, method: str, path: str, body: object = None, *, key: str | None = None, environment: int = 0, **more: Any
    ) -> tuple[int, dict[str, Any]]:
        event = {
            "version": "2.0",
            "rawPath": path,
            "headers": {} if key is None else {"idempotency-key": key},
            "requestContext": {"requestId": "r-1", "http": {"method": method, "path": path}},
            **({} if body is None else {"body": body if isinstance(body, str) else json.dumps(body)}),
        }
        answer = self.apps[environment].main(event | more, None)
        assert answer["headers"]["content-type"] == "application/json"
        return answer["statusCode"], json.loads(answer["body"])


def load(keeper: Keeper) -> ModuleType:
    """Import the example as another execution environment would, with this connection."""
    spec = importlib.util.spec_from_file_location("app", EXAMPLE / "app.py")
    assert spec
    assert spec.loader
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    vars(app).update(connection=keeper.connection, run_transaction=keeper.run_transaction)
    return app


@pytest.fixture(scope="module")
def variables(deployment: Deployment) -> dict[str, str]:  # noqa: F811
    """What leads to the proxy, once the example's migration is applied."""
    package = io.BytesIO((OUTPUT / "bootstrap.zip").read_bytes())
    with zipfile.ZipFile(package, "a") as archive:
        migration = EXAMPLE / "migrations" / "0002_user_requests.sql"  # the sample has the table of users
        archive.write(migration, f"bootstrap/migrations/{migration.name}")
    deployment.client("lambda").update_function_code(FunctionName=deployment.bootstrap, ZipFile=package.getvalue())
    variables = deployment.make_proxy()
    deployment.invoke(deployment.bootstrap, {"action": "apply"})
    await_target(deployment.client("rds"), deployment.name, timeout_seconds=120)
    return variables


@pytest.fixture(scope="module")
def api(deployment: Deployment, variables: dict[str, str]) -> Iterator[Api]:  # noqa: F811
    keepers = [deployment.keeper(variables) for _ in range(ENVIRONMENTS)]
    yield Api(keepers)
    for keeper in keepers:
        keeper.close()


def test_a_user_is_created_listed_and_renamed(api: Api) -> None:
    status, made = api("POST", "/users", {"name": " Barbara Liskov "}, key="life-1")
    assert (status, made["name"]) == (201, "Barbara Liskov")
    assert api("PATCH", f"/users/{made['id']}", {"name": "B. Liskov"}) == (200, made | {"name": "B. Liskov"})
    status, listed = api("GET", "/users", queryStringParameters={"after": str(made["id"] - 1)})
    assert (status, listed["users"][0]["name"]) == (200, "B. Liskov")


def test_the_same_request_makes_one_user(api: Api) -> None:
    first, made = api("POST", "/users", {"name": "Once"}, key="twice")
    assert (first, api("POST", "/users", {"name": "Once"}, key="twice", environment=1)) == (201, (200, made))


def test_the_same_request_at_once_makes_one_user(api: Api, deployment: Deployment) -> None:  # noqa: F811
    with ThreadPoolExecutor(ENVIRONMENTS) as threads:
        calls = [
            threads.submit(api, "POST", "/users", {"name": "At once"}, key="at-once", environment=number)
            for number in range(ENVIRONMENTS)
        ]
        answers = [call.result() for call in calls]
    assert sorted(status for status, _ in answers) == [200] * (ENVIRONMENTS - 1) + [201]
    assert len({user["id"] for _, user in answers}) == 1
    assert deployment.query("SELECT count(*) FROM app.users WHERE name = 'At once'") == [(1,)]


def test_a_key_of_another_request_is_refused_and_changes_nothing(api: Api, deployment: Deployment) -> None:  # noqa: F811
    api("POST", "/users", {"name": "First"}, key="taken")
    assert api("POST", "/users", {"name": "Second"}, key="taken")[0] == 422
    assert deployment.query("SELECT count(*) FROM app.users WHERE name = 'Second'") == [(0,)]


def test_an_answer_lost_after_commit_is_given_again(
    api: Api,
    deployment: Deployment,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = api.apps[0]
    run = app.run_transaction

    def lose(work: Callable[[Any], Any], context: Any) -> Any:
        run(work, context)
        raise ConnectionLost("app", "server closed the connection", committed=None)

    with monkeypatch.context() as patch:
        patch.setattr(app, "run_transaction", lose)
        assert api("POST", "/users", {"name": "Lost"}, key="lost") == (503, {"error": "may have been done"})
    assert api("POST", "/users", {"name": "Lost"}, key="lost")[0] == 200
    assert deployment.query("SELECT count(*) FROM app.users WHERE name = 'Lost'") == [(1,)]


def test_without_a_connection_it_says_that_nothing_was_done(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PoolExhausted("app", "no room")

    monkeypatch.setattr(api.apps[0], "run_transaction", refuse)
    answer = api.apps[0].main(
        {
            "rawPath": "/users/1",
            "requestContext": {"http": {"method": "PATCH"}},
            "body": base64.b64encode(b'{"name": "A"}').decode(),
            "isBase64Encoded": True,
        },
        None,
    )
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
    assert json.loads(answer["body"]) == {"error": "was not done"}


@pytest.mark.parametrize(
    ("request_line", "body", "key", "status"),
    [
        (("POST", "/users"), {"name": "A"}, None, 400),
        (("POST", "/users"), {"name": "A"}, "k" * 65, 400),
        (("POST", "/users"), "{", "k", 400),
        (("POST", "/users"), None, "k", 400),
        (("POST", "/users"), {"name": " "}, "k", 400),
        (("POST", "/users"), {"name": "n" * 201}, "k", 400),
        (("POST", "/users"), {"name": "a\x00b"}, "k", 400),
        (("POST", "/users"), {"name": 7}, "k", 400),
        (("POST", "/users"), {"name": "A", "admin": True}, "k", 400),
        (("PATCH", "/users/999999999"), {"name": "A"}, None, 404),
        (("PATCH", "/users/9999999999999999999"), {"name": "A"}, None, 404),
        (("GET", "/orders"), None, None, 404),
        (("DELETE", "/users/1"), None, None, 405),
        (("PUT", "/users"), None, None, 405),
    ],
)
def test_a_wrong_request_is_told_why(
    api: Api, request_line: tuple[str, str], body: object, key: str | None, status: int
) -> None:
    answered, said = api(*request_line, body, key=key)
    assert answered == status
    assert said["error"]


def test_a_page_ends_where_the_next_begins(api: Api, deployment: Deployment) -> None:  # noqa: F811
    deployment.query("INSERT INTO app.users (name) SELECT 'page' FROM generate_series(1, 60) RETURNING id")
    seen, after = [], 0
    while after is not None:
        status, page = api("GET", "/users", queryStringParameters={"after": str(after)})
        assert (status, len(page["users"]) <= 50) == (200, True)
        seen += [user["id"] for user in page["users"]]
        after = page["next"]
    assert [(number,) for number in seen] == deployment.query("SELECT id FROM app.users ORDER BY id")


def test_each_request_is_one_line_without_what_it_held(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api("POST", "/users", {"name": "Private"}, key="log")
    line = json.loads(capsys.readouterr().out)
    assert line.pop("milliseconds") >= 0
    assert line == {
        "level": "INFO", "event": "request", "id": "r-1", "method": "POST", "path": "/users", "status": 201
    }  # fmt: skip


def test_what_is_no_http_request_is_answered_too(api: Api) -> None:
    assert api.apps[0].main({}, None)["statusCode"] == 404


def test_nothing_of_it_pins(api: Api, deployment: Deployment, variables: dict[str, str]) -> None:  # noqa: F811
    api("POST", "/users", {"name": "Unpinned"}, key="unpinned")
    api("GET", "/users")
    sessions = deployment.stack.endpoints.get(variables["PGHOST"]).listener.sessions
    assert sessions
    assert [session.pinned for session in sessions if session.pinned is not None] == []


class Context:
    """Lambda's, with so much time left."""

    def __init__(self, remaining_ms: int = 10_000) -> None:
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms


@pytest.fixture
def work(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The worker: messages by id in, the ids of those that failed out."""
    monkeypatch.setitem(sys.modules, "app", api.apps[0])
    spec = importlib.util.spec_from_file_location("worker", EXAMPLE / "worker.py")
    assert spec
    assert spec.loader
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)

    def run(context: Context | None = None, /, **bodies: str) -> list[str]:
        records = [{"messageId": message, "body": body} for message, body in bodies.items()]
        answer = worker.main({"Records": records}, context or Context())
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    return run


def test_a_message_makes_a_user_once_however_often_it_comes(
    work: Callable[..., list[str]],
    deployment: Deployment,  # noqa: F811
) -> None:
    for _ in range(2):
        assert work(again='{"name": "By message"}') == []
    assert deployment.query("SELECT count(*) FROM app.users WHERE name = 'By message'") == [(1,)]


def test_only_the_messages_that_are_wrong_are_named(work: Callable[..., list[str]], deployment: Deployment) -> None:  # noqa: F811
    bodies = {"a": '{"name": "Before"}', "b": "no JSON", "c": '{"name": ""}', "d": '{"name": "Behind"}'}
    assert work(**bodies) == ["b", "c"]
    assert deployment.query("SELECT count(*) FROM app.users WHERE name IN ('Before', 'Behind')") == [(2,)]


def test_without_a_connection_the_rest_of_a_batch_is_given_back_untried(
    work: Callable[..., list[str]], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(*_: Any) -> None:
        tried.append(1)
        raise PoolExhausted("app", "no room")

    monkeypatch.setattr(api.apps[0], "run_transaction", refuse)
    assert work(a='{"name": "A"}', b='{"name": "B"}', c='{"name": "C"}') == ["a", "b", "c"]
    assert len(tried) == 1


def test_a_batch_ends_before_the_function_s_time_does(work: Callable[..., list[str]]) -> None:
    assert work(Context(5_000), a='{"name": "Late"}') == ["a"]
