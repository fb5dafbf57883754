"""What stands in front of a function of a control plane: an HTTP API, a queue."""

import json
import threading
import urllib.parse
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.lambda_runtime.function import FunctionVersion, Invocation
from tests.local.account import REGION, Account, Recorder, allow

ACCOUNT = "123456789012"
FORMAT = '{"status":"$context.status","route":"$context.routeKey","error":"$context.integration.error","who":"$context.identity.userArn","refused":"$context.authorizer.error","sub":"$context.authorizer.claims.sub"}'  # noqa: E501

Answer = tuple[int, dict[str, str], Any]


class Api:
    """An API in front of the alias live of a function of its own."""

    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name = account, name
        self.client, self.functions = account.apigatewayv2, getattr(account, "lambda")
        version = account.function(name, Publish=True)["Version"]
        self.alias = self.functions.create_alias(FunctionName=name, Name="live", FunctionVersion=version)["AliasArn"]
        made = self.client.create_api(Name=name, ProtocolType="HTTP")
        self.id, self.endpoint = made["ApiId"], made["ApiEndpoint"]
        uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{self.alias}/invocations"
        self.integration = self.client.create_integration(
            ApiId=self.id, IntegrationType="AWS_PROXY", IntegrationUri=uri, PayloadFormatVersion="2.0"
        )["IntegrationId"]

    def permit(self, source_arn: str = "*") -> "Api":
        self.functions.add_permission(
            FunctionName=self.name,
            Qualifier="live",
            StatementId="http",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.id}/{source_arn}",
        )
        return self

    def route(self, key: str = "$default", **settings: Any) -> "Api":
        self.client.create_route(ApiId=self.id, RouteKey=key, Target=f"integrations/{self.integration}", **settings)
        return self

    def stage(self, **settings: Any) -> "Api":
        self.client.create_stage(ApiId=self.id, StageName="$default", AutoDeploy=True, **settings)
        return self

    def logged(self) -> "Api":
        group = f"/aws/vendedlogs/apigateway/{self.name}"
        self.account.logs.create_log_group(logGroupName=group)
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
        return self.stage(AccessLogSettings={"DestinationArn": arn, "Format": FORMAT})

    def lines(self) -> list[dict[str, str]]:
        group = f"/aws/vendedlogs/apigateway/{self.name}"
        events = self.account.logs.filter_log_events(logGroupName=group)["events"]
        return [json.loads(event["message"]) for event in events]

    def ask(self, method: str = "GET", target: str = "/", body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection(urllib.parse.urlsplit(self.endpoint).netloc, timeout=10)
        try:
            connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
            kind = answer.headers.get("content-type", "")
            found = json.loads(content) if kind == "application/json" and content else content
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, found
        finally:
            connection.close()

    def ask_signed(self, key: Any, service: str = "execute-api", target: str = "/") -> Answer:
        request = AWSRequest("GET", f"{self.endpoint}{target}")
        keys = Credentials(key["AccessKeyId"], key["SecretAccessKey"], key.get("SessionToken"))
        SigV4Auth(keys, service, REGION).add_auth(request)
        return self.ask(target=target, **dict(request.headers.items()))


class Fed:
    """A function that a queue feeds, which answers as the test says."""

    def __init__(self, account: Account, events: Recorder, name: str, **settings: Any) -> None:
        self.account, self.sqs, self.functions = account, account.sqs, getattr(account, "lambda")
        self.answer: Callable[[list[dict[str, Any]]], object] = lambda _: {"batchItemFailures": []}
        self.batches: list[list[dict[str, Any]]] = []
        self.working = self.most_working = 0
        self._lock = threading.Lock()
        events.answer = self._run
        self.failed = self._queue(f"{name}-failed")
        redrive = {"deadLetterTargetArn": self._arn(f"{name}-failed"), "maxReceiveCount": 2}
        self.url = self._queue(name, RedrivePolicy=json.dumps(redrive), **settings.pop("attributes", {}))
        polls = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        self.role = account.role(f"{name}-role", allow(polls, self._arn(name)))
        account.function(name, Role=self.role, Timeout=5)
        given = {"FunctionResponseTypes": ["ReportBatchItemFailures"]} | settings
        made = self.functions.create_event_source_mapping(EventSourceArn=self._arn(name), FunctionName=name, **given)
        self.mapping = made["UUID"]

    def _queue(self, name: str, **attributes: str) -> str:
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    @staticmethod
    def _arn(name: str) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def _run(self, _: FunctionVersion, payload: bytes) -> Invocation:
        records = json.loads(payload)["Records"]
        with self._lock:
            self.batches.append(records)
            self.working += 1
            self.most_working = max(self.working, self.most_working)
        try:
            answer = self.answer(records)
        except ValueError:
            return Invocation("f", b'{"errorMessage": "no"}', "Unhandled", "")
        finally:
            with self._lock:
                self.working -= 1
        return Invocation("f", json.dumps(answer).encode(), None, "")

    def send(self, *bodies: str, **more: Any) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)

    def left(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def bodies(self) -> list[str]:
        return [record["body"] for batch in self.batches for record in batch]

    def stop(self) -> None:
        self.functions.delete_event_source_mapping(UUID=self.mapping)
