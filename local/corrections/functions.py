"""Lambda functions, their versions and their concurrency."""

from __future__ import annotations

import json
from typing import Any

from moto.awslambda import urls as lambda_urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaFunction, LambdaStorage
from moto.awslambda.responses import LambdaResponse
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from local import policies
from local.corrections.moto import Method, Moto
from local.directory import role_allows


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    functions_keep_what_they_were_given(moto)
    functions_know_their_vpc(moto)
    functions_need_a_role_that_lambda_may_assume(moto)
    environment_variables_are_limited(moto)
    provisioned_concurrency_exists(moto)


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
        if not policies.trusts(json.loads(role.assume_role_policy_document), "lambda.amazonaws.com"):
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
