"""Lambda functions, their versions, their concurrency and their network interfaces.

Sources: the Lambda Developer Guide (LDG), the API reference as botocore's service model carries it, and for error texts
the issues named beside them.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from moto.awslambda import urls as lambda_urls
from moto.awslambda.exceptions import GenericResourcNotFound, InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction, LambdaStorage
from moto.awslambda.responses import LambdaResponse
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from local.aws import iam_policies
from local.aws.corrections.network import hold
from local.aws.iam import role_allows
from local.aws.moto import Method, Moto

ACCOUNT_CONCURRENCY = 1000  # LDG gettingstarted-limits: the default; a new account has less, such as 10
KEPT_UNRESERVED = 100  # LDG configuration-concurrency; where the limit itself is lower, all of it
RESTORE_SECONDS = 2.0  # AWS takes minutes
INTERFACE_SECONDS = 1.0  # AWS takes up to 20 minutes after the last use, sometimes 45


class ConflictError(LambdaClientError):
    code = 409


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    version_numbers_are_given_once(moto)
    the_account_limits_reservations(moto)
    functions_fall_idle(moto)
    functions_keep_what_they_were_given(moto)
    functions_know_their_vpc(moto)
    aliases_have_policies_of_their_own(moto)
    functions_need_a_role_that_lambda_may_assume(moto)
    environment_variables_are_limited(moto)
    provisioned_concurrency_exists(moto)
    functions_leave_network_interfaces(moto)  # around all that refuses: what is refused makes no interface


def functions_keep_what_they_were_given(moto: Moto) -> None:
    """GetFunction returns dead letters, logging and SnapStart as given; LoggingConfig names the log group."""

    def keep(function: Any, given: dict[str, Any]) -> None:
        for name in ("DeadLetterConfig", "LoggingConfig", "SnapStart"):
            if name in given:
                function.__dict__.setdefault("kept", {})[name] = given[name]
        logging = function.__dict__.setdefault("kept", {}).get("LoggingConfig", {})
        function.logs_group_name = logging.get("LogGroup", f"/aws/lambda/{function.function_name}")

    @moto.around(LambdaFunction, "__init__")
    def create(original: Method, self: Any, account_id: str, spec: Any, *args: Any, **kwargs: Any) -> None:
        original(self, account_id, spec, *args, **kwargs)
        keep(self, spec)

    @moto.around(LambdaFunction, "update_configuration")
    def update(original: Method, self: Any, config_updates: Any) -> Any:
        self.kept = dict(self.kept)  # published versions are shallow copies
        keep(self, config_updates)
        self.tracing_config = config_updates.get("TracingConfig", self.tracing_config)
        self.kms_key_arn = config_updates.get("KMSKeyArn", self.kms_key_arn)
        if "EphemeralStorage" in config_updates:
            self.ephemeral_storage = config_updates["EphemeralStorage"]["Size"]
        return original(self, config_updates)

    @moto.around(LambdaFunction, "get_configuration")
    def describe(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        configuration = original(self, *args, **kwargs)
        snap_start = self.kept.get("SnapStart", {}).get("ApplyOn", "None")
        optimized = snap_start == "PublishedVersions" and self.version != "$LATEST"
        configuration["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": self.logs_group_name} | self.kept.get(
            "LoggingConfig", {}
        )
        configuration["SnapStart"] = {"ApplyOn": snap_start, "OptimizationStatus": "On" if optimized else "Off"}
        if self.kept.get("DeadLetterConfig", {}).get("TargetArn"):
            configuration["DeadLetterConfig"] = self.kept["DeadLetterConfig"]
        return configuration


def aliases_have_policies_of_their_own(moto: Moto) -> None:
    """AddPermission with a qualifier grants the alias or version, by its ARN; GetPolicy shows what was granted there.

    LDG access-control-resource-based. A statement's id is taken once (API reference: ResourceConflictException).
    """

    def target(backend: Any, name: str, qualifier: str | None) -> str:
        base = ":".join(backend.get_function(name, qualifier).function_arn.split(":")[:7])
        return f"{base}:{qualifier}" if qualifier else base

    @moto.around(LambdaBackend, "add_permission")
    def add(original: Method, self: Any, function_name: str, qualifier: str | None, raw: str) -> Any:
        arn, wanted = target(self, function_name, qualifier), json.loads(raw).get("StatementId")
        known = self.get_function(function_name).policy.statements
        if any(one["Sid"] == wanted and one["Resource"] == arn for one in known):
            message = (
                f"The statement id ({wanted}) provided already exists. Please provide a new statement id, or remove"
            )
            raise ConflictError("ResourceConflictException", f"{message} the existing statement.")
        statement = original(self, function_name, None, raw)
        statement["Resource"] = arn
        return statement

    @moto.around(LambdaBackend, "get_policy")
    def get(_: Method, self: Any, function_name: str, qualifier: str | None = None) -> Any:
        arn, policy = target(self, function_name, qualifier), self.get_function(function_name).policy
        here = [one for one in policy.statements if one["Resource"] == arn]
        if not here:
            raise GenericResourcNotFound
        document = {"Version": "2012-10-17", "Id": "default", "Statement": here}
        return json.dumps({"Policy": json.dumps(document), "RevisionId": policy.revision})


def functions_know_their_vpc(moto: Moto) -> None:
    """VpcConfig names the VPC of the function's subnets."""

    def vpc_config(function: Any) -> dict[str, Any] | None:
        given = function._vpc_config
        if not given or not given.get("SubnetIds"):
            return given or None
        subnet = ec2_backends[function.account_id][function.region].get_subnet(given["SubnetIds"][0])
        return {**given, "VpcId": subnet.vpc_id}

    moto.set(LambdaFunction, "vpc_config", property(vpc_config))


def functions_need_a_role_that_lambda_may_assume(moto: Moto) -> None:
    """CreateFunction refuses a role that does not trust Lambda, or in a VPC one that may not make interfaces."""

    def reason_against(function: Any, role: Any) -> str | None:
        if not iam_policies.trusts(json.loads(role.assume_role_policy_document), "lambda.amazonaws.com"):
            return "The role defined for the function cannot be assumed by Lambda."
        if function.vpc_config and not role_allows(role.arn, "ec2:CreateNetworkInterface", "*"):
            return "The provided execution role does not have permissions to call CreateNetworkInterface on EC2"
        return None

    @moto.around(LambdaStorage, "put_function")
    def put(original: Method, self: Any, fn: Any) -> None:
        original(self, fn)
        role = iam_backends[self.account_id][self.partition].get_role_by_arn(fn.role)
        if reason := reason_against(fn, role):
            self.del_function(fn.function_name)
            raise InvalidParameterValueException(reason)


def environment_variables_are_limited(moto: Moto) -> None:
    """CreateFunction and UpdateFunctionConfiguration refuse more than 4 KB of environment variables.

    The limit is in the Lambda guide (gettingstarted-limits). What is measured is the JSON object that Lambda's error
    shows, with its names and quotes: github-aws-runners/terraform-aws-github-runner#3594.
    """

    def check(given: dict[str, Any]) -> None:
        variables = given.get("Environment", {}).get("Variables", {})
        measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
        if len(measured.encode()) > 4096:
            raise InvalidParameterValueException(
                "Lambda was unable to configure your environment variables because the environment variables you have"
                f" provided exceeded the 4KB limit. String measured: {measured}"
            )

    @moto.around(LambdaFunction, "__init__")
    def create(original: Method, self: Any, account_id: str, spec: Any, *args: Any, **kwargs: Any) -> None:
        check(spec)
        original(self, account_id, spec, *args, **kwargs)

    @moto.around(LambdaFunction, "update_configuration")
    def update(original: Method, self: Any, config_updates: Any) -> Any:
        check(config_updates)
        return original(self, config_updates)


def provisioned_concurrency_exists(moto: Moto) -> None:
    """Put, Get and DeleteProvisionedConcurrencyConfig on an alias or a version; it is ready at once."""

    class NotFoundError(LambdaClientError):
        code = 404

    path = r"{0}/(?P<api_version>[^/]+)/functions/(?P<function_name>[\w_:%-]+)/provisioned-concurrency$"
    moto.set(lambda_urls, "url_paths", {**lambda_urls.url_paths, path: LambdaResponse.dispatch})

    def target(response: Any) -> tuple[dict[str, Any], str]:
        function = response.backend.get_function(response.path.rsplit("/", 2)[-2])
        configured: dict[str, Any] = function.__dict__.setdefault("provisioned", {})
        return configured, response.querystring["Qualifier"][0]

    def status(count: int) -> str:
        names = ("Requested", "Allocated", "Available")
        return json.dumps({f"{name}ProvisionedConcurrentExecutions": count for name in names} | {"Status": "READY"})

    @moto.add(LambdaResponse)
    def put_provisioned_concurrency_config(self: Any) -> Any:
        configured, qualifier = target(self)
        configured[qualifier] = self.json_body["ProvisionedConcurrentExecutions"]
        return 202, {"status": 202}, status(configured[qualifier])

    @moto.add(LambdaResponse)
    def get_provisioned_concurrency_config(self: Any) -> Any:
        configured, qualifier = target(self)
        if qualifier not in configured:
            message = "No Provisioned Concurrency Config found for this function"
            raise NotFoundError("ProvisionedConcurrencyConfigNotFoundException", message)
        return status(configured[qualifier])

    @moto.add(LambdaResponse)
    def delete_provisioned_concurrency_config(self: Any) -> Any:
        configured, qualifier = target(self)
        configured.pop(qualifier, None)
        return 204, {"status": 204}, ""


def version_numbers_are_given_once(moto: Moto) -> None:
    """A version's number is never used again (LDG configuration-versions), so old versions can be deleted."""

    @moto.around(LambdaStorage, "publish_version")
    def publish(original: Method, self: Any, name_or_arn: str, description: str = "") -> Any:
        function = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
        versions = self._functions[function.function_name]["versions"]
        published = original(self, name_or_arn, description)
        number = function.__dict__.get("numbers_given", 0) + 1
        if published is not None and published in versions and not hasattr(published, "numbered"):
            del self._arns[published.function_arn]
            published.set_version(number)
            published.numbered = True
            self._arns[published.function_arn] = published
            function.numbers_given = number
        return published


def the_account_limits_reservations(moto: Moto) -> None:
    """PutFunctionConcurrency keeps 100 executions unreserved; GetAccountSettings tells the limit and what is left.

    LDG configuration-concurrency. A limit below 100 is the minimum itself, so that nothing can be reserved; the message
    is that of aws-samples/one-observability-demo#278.
    """
    moto.set(LambdaBackend, "concurrency_limit", ACCOUNT_CONCURRENCY)
    path = r"{0}/(?P<api_version>[^/]+)/account-settings/?$"
    moto.set(lambda_urls, "url_paths", {**lambda_urls.url_paths, path: LambdaResponse.dispatch})

    def unreserved(backend: Any, *, without: str | None = None) -> int:
        reserved = [int(f.reserved_concurrency or 0) for f in backend.list_functions() if f.function_name != without]
        return concurrency_limit(backend) - sum(reserved)

    @moto.around(LambdaBackend, "put_function_concurrency")
    def put(original: Method, self: Any, function_name: str, reserved_concurrency: Any) -> Any:
        function = self.get_function(function_name)
        least = min(KEPT_UNRESERVED, concurrency_limit(self))
        if unreserved(self, without=function.function_name) - int(reserved_concurrency) < least:
            raise InvalidParameterValueException(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{least}]."
            )
        return original(self, function_name, reserved_concurrency)

    @moto.add(LambdaResponse)
    def get_account_settings(self: Any) -> str:
        functions = self.backend.list_functions()
        limit = {
            "ConcurrentExecutions": concurrency_limit(self.backend),
            "UnreservedConcurrentExecutions": unreserved(self.backend),
        }
        return json.dumps({"AccountLimit": limit, "AccountUsage": {"FunctionCount": len(list(functions))}})


def concurrency_limit(backend: Any) -> int:
    """Return how many executions the account may run at once in a region; set as `LambdaBackend.concurrency_limit`."""
    return int(backend.concurrency_limit)


def functions_fall_idle(moto: Moto) -> None:
    """A function is Inactive once Lambda took its interfaces back; then Pending from the first invocation to Active.

    LDG functions-states and configuration-vpc; the reasons' codes are botocore's StateReasonCode.
    """
    reasons = {
        "Inactive": ("Idle", "The function is idle."),
        "Pending": ("Restoring", "The function is being restored."),
    }

    def state(function: Any) -> str:
        found = function.__dict__.get("idle", "Active")
        if found == "Pending" and time.monotonic() >= function.restored_at:
            found = function.idle = "Active"
        return str(found)

    moto.set(LambdaFunction, "state", property(state, lambda *_: None))

    @moto.around(LambdaFunction, "get_configuration")
    def describe(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        configuration = original(self, *args, **kwargs)
        if self.state in reasons:
            code, reason = reasons[self.state]
            configuration |= {"State": self.state, "StateReasonCode": code, "StateReason": reason}
        return configuration


def fall_idle(function: Any) -> None:
    """Let a function be as one that nobody invoked for 14 days."""
    function.idle = "Inactive"


def refuse_unless_active(function: Any) -> None:
    """Refuse an invocation while a function is Inactive, which wakes it, or Pending (error: boto3#3788)."""
    if function.state == "Inactive":
        function.idle, function.restored_at = "Pending", time.monotonic() + RESTORE_SECONDS
    if function.state != "Active":
        message = "Lambda is initializing your function. It will be ready to invoke shortly."
        raise ConflictError("CodeArtifactUserPendingException", message)


def functions_leave_network_interfaces(moto: Moto) -> None:
    """Lambda holds an interface for each subnet and set of groups that a version uses, and deletes it later.

    LDG configuration-vpc: functions share them, published versions keep theirs, and Lambda deletes them with the
    permissions of the function's role: without it they stay. How soon Lambda notices a deleted role is not documented.
    """

    def uses(storage: Any) -> dict[tuple[str, frozenset[str]], str]:
        """Return the role of a function for each subnet and set of groups in use."""
        versions = [f for name in list(storage._functions.values()) for f in [name["latest"], *name["versions"]] if f]
        return {
            (subnet, frozenset(given.get("SecurityGroupIds", []))): function.role
            for function in versions
            for given in [function._vpc_config or {}]
            for subnet in given.get("SubnetIds", [])
        }

    def follow(storage: Any) -> None:
        ec2 = ec2_backends[storage.account_id][storage.region_name]
        held: dict[Any, tuple[str, str]] = storage.__dict__.setdefault("interfaces", {})
        wanted = uses(storage)
        for use, role in wanted.items():
            if use not in held or held[use][0] not in ec2.enis:
                subnet, groups = use
                interface = ec2.create_network_interface(
                    ec2.get_subnet(subnet), "", group_ids=sorted(groups), description="AWS Lambda VPC ENI"
                )
                hold(interface)
                held[use] = (interface.id, role)
            else:
                held[use] = (held[use][0], role)
        if set(held) - set(wanted):
            timer = threading.Timer(INTERFACE_SECONDS, release, [storage])
            timer.daemon = True
            timer.start()

    def release(storage: Any) -> None:
        ec2 = ec2_backends[storage.account_id][storage.region_name]
        held, wanted = storage.interfaces, uses(storage)
        for use in set(held) - set(wanted):
            interface, role = held.get(use, ("", ""))  # of functions deleted at once, each has a timer
            if interface and role_allows(role, "ec2:DeleteNetworkInterface", "*"):
                held.pop(use, None)
                ec2.enis.pop(interface, None)

    for name in ("put_function", "publish_version", "del_function"):

        @moto.around(LambdaStorage, name)
        def change(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            follow(self)
            return result

    @moto.around(LambdaBackend, "update_function_configuration")
    def update(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        follow(self._lambdas)
        return result
