"""Where moto's answers differ from those that AWS documents, and what the modules here need of them.

Every correction replaces attributes of moto's classes while the control plane runs. For each there is a test that fails
as soon as moto has it by itself: then delete it here.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from moto.awslambda import urls as lambda_urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaFunction, LambdaStorage
from moto.awslambda.responses import LambdaResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.iam.models import iam_backends
from moto.rds.exceptions import DBProxyNotFoundFault, RDSClientError
from moto.rds.models import (
    DBInstance,
    DBParameterGroup,
    DBProxyTargetGroup,
    MasterUserSecret,
    RDSBackend,
    TaggingMixin,
)
from moto.rds.responses import RDSResponse
from moto.secretsmanager.models import SecretsManagerBackend

from local import policies
from local.directory import role_allows

Method = Callable[..., Any]


class Moto:
    """moto's classes, with what was replaced in them put back by `restore`."""

    def __init__(self) -> None:
        self._replaced = ExitStack()

    def set(self, owner: Any, name: str, value: object) -> None:
        if name in vars(owner):
            self._replaced.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._replaced.callback(delattr, owner, name)
        setattr(owner, name, value)

    def around(self, owner: type, name: str) -> Callable[[Method], Method]:
        """Decorate a function that is called in a method's place, with the original as its first argument."""
        original = getattr(owner, name)

        def decorate(function: Method) -> Method:
            def method(self: Any, *args: Any, **kwargs: Any) -> Any:
                return function(original, self, *args, **kwargs)

            self.set(owner, name, method)
            return function

        return decorate

    def add(self, owner: type) -> Callable[[Method], Method]:
        """Decorate a function that becomes a method of its own name."""

        def decorate(function: Method) -> Method:
            self.set(owner, function.__name__, function)
            return function

        return decorate

    def restore(self) -> None:
        self._replaced.close()


def correct(moto: Moto) -> None:
    """Apply all corrections."""
    instances_have_a_resource_id_of_their_own(moto)
    instances_keep_what_they_were_given(moto)
    master_secrets_hold_the_given_user(moto)
    parameters_given_are_the_user_s(moto)
    proxies_can_be_modified(moto)
    proxies_have_further_endpoints(moto)
    pools_keep_their_init_query(moto)
    security_group_rules_keep_their_description(moto)
    functions_keep_what_they_were_given(moto)
    functions_know_their_vpc(moto)
    functions_need_a_role_that_lambda_may_assume(moto)
    provisioned_concurrency_exists(moto)
    composite_alarms_exist(moto)
    rotation_can_be_repeated(moto)
    current_is_where_its_label_is(moto)
    rotation_that_waits_is_only_tested(moto)


def instances_have_a_resource_id_of_their_own(moto: Moto) -> None:
    """DbiResourceId is unique in a region: policies for rds-db:connect name it."""

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.dbi_resource_id = f"db-{_random(26, string.ascii_uppercase + string.digits)}"


def instances_keep_what_they_were_given(moto: Moto) -> None:
    """DescribeDBInstances returns every setting of CreateDBInstance; the default authority is rds-ca-rsa2048-g1."""
    kept = {
        "performance_insights_kms_key_id": None,
        "performance_insights_retention_period": None,
        "database_insights_mode": "standard",
        "engine_lifecycle_support": "open-source-rds-extended-support",
        "enable_performance_insights": False,
    }

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{"ca_certificate_identifier": "rds-ca-rsa2048-g1", **kwargs})
        for name, default in kept.items():
            setattr(self, name, kwargs.get(name, default))
        if self.enable_performance_insights and self.performance_insights_retention_period is None:
            self.performance_insights_retention_period = 7

    moto.set(DBInstance, "performance_insights_enabled", property(lambda self: self.enable_performance_insights))


def master_secrets_hold_the_given_user(moto: Moto) -> None:
    """The secret that RDS manages holds the instance's master user name and a random password of 28 characters."""

    def credentials(secret: Any) -> str:
        password = _random(28, string.ascii_letters + string.digits)
        return json.dumps({"username": secret.resource.master_username, "password": password})

    moto.set(MasterUserSecret, "_generate_secret_string", credentials)

    @moto.around(MasterUserSecret, "rotate_secret")
    def rotate(_: Method, self: Any) -> None:
        self._status = "rotating"
        self.secretsmanager.put_secret_value(
            self.secret.arn,
            secret_string=credentials(self),
            secret_binary=None,
            client_request_token=None,
            version_stages=["AWSCURRENT"],
        )


def parameters_given_are_the_user_s(moto: Moto) -> None:
    """DescribeDBParameters marks the user's parameters by their Source; ResetDBParameterGroup removes them."""

    @moto.around(DBParameterGroup, "update_parameters")
    def update(original: Method, self: Any, new_parameters: Any) -> None:
        original(self, [{**parameter, "Source": "user"} for parameter in new_parameters])

    @moto.add(RDSResponse)
    def reset_db_parameter_group(self: Any) -> ActionResult:
        name = self.params["DBParameterGroupName"]
        group = self.backend.describe_db_parameter_groups({"db_parameter_group_name": name})[0]
        for parameter in self.params.get("Parameters", []):
            group.parameters.pop(parameter["ParameterName"], None)
        if self.params.get("ResetAllParameters"):
            group.parameters.clear()
        return ActionResult({"DBParameterGroupName": group.name})


def proxies_can_be_modified(moto: Moto) -> None:
    """ModifyDBProxy changes what it is given and keeps the rest."""
    attributes = {
        "Auth": "auth",
        "RequireTLS": "require_tls",
        "IdleClientTimeout": "idle_client_timeout",
        "DebugLogging": "debug_logging",
        "RoleArn": "role_arn",
        "SecurityGroups": "vpc_security_group_ids",
    }

    @moto.add(RDSBackend)
    def modify_db_proxy(self: Any, proxy_name: str, changes: dict[str, Any]) -> Any:
        proxy = self.describe_db_proxies(proxy_name)[0]
        for name, value in changes.items():
            setattr(proxy, name, value)
        proxy.updated_date = utcnow()
        return proxy

    moto.set(
        RDSResponse,
        "modify_db_proxy",
        lambda self: ActionResult(
            {
                "DBProxy": self.backend.modify_db_proxy(
                    self.params["DBProxyName"],
                    {attribute: self.params[name] for name, attribute in attributes.items() if name in self.params},
                )
            }
        ),
    )


def proxies_have_further_endpoints(moto: Moto) -> None:
    """A proxy takes endpoints beside its default one. READ_ONLY works with clusters only, and this stack has none."""

    def endpoints(backend: Any) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = backend.__dict__.setdefault("db_proxy_endpoints", {})
        return found

    def tags(backend: Any) -> dict[str, TaggingMixin]:
        found: dict[str, TaggingMixin] = backend.__dict__.setdefault("db_proxy_endpoint_tags", {})
        return found

    def endpoint(backend: Any, name: str) -> dict[str, Any]:
        if name not in endpoints(backend):
            raise RDSClientError("DBProxyEndpointNotFoundFault", f"DB proxy endpoint {name} not found.")
        return endpoints(backend)[name]

    @moto.add(RDSResponse)
    def create_db_proxy_endpoint(self: Any) -> ActionResult:
        backend, params = self.backend, self.params
        proxy, name = backend.describe_db_proxies(params["DBProxyName"])[0], params["DBProxyEndpointName"]
        if name in endpoints(backend):
            raise RDSClientError("DBProxyEndpointAlreadyExistsFault", f"DB proxy endpoint {name} already exists.")
        if params.get("TargetRole", "READ_WRITE") == "READ_ONLY":
            message = "RDS Proxy endpoints with the target role READ_ONLY are not supported for DB instances."
            raise RDSClientError("InvalidParameterValue", message)
        region, account = backend.region_name, backend.account_id
        endpoints(backend)[name] = {
            "DBProxyEndpointName": name,
            "DBProxyEndpointArn": f"arn:aws:rds:{region}:{account}:db-proxy-endpoint:prx-endpoint-{_random(17)}",
            "DBProxyName": proxy.db_proxy_name,
            "Status": "available",
            "VpcId": proxy.vpc_id,
            "VpcSecurityGroupIds": params.get("VpcSecurityGroupIds") or proxy.vpc_security_group_ids,
            "VpcSubnetIds": params["VpcSubnetIds"],
            "Endpoint": f"{name}.endpoint.{proxy.endpoint.split('.', 1)[1]}",
            "CreatedDate": utcnow(),
            "TargetRole": "READ_WRITE",
            "IsDefault": False,
        }
        tags(backend)[endpoints(backend)[name]["DBProxyEndpointArn"]] = _Tagged(params.get("Tags", []))
        return ActionResult({"DBProxyEndpoint": endpoints(backend)[name]})

    @moto.around(RDSBackend, "_get_resource_for_tagging")
    def tagged(original: Method, self: Any, arn: str) -> Any:
        return tags(self).get(arn) or original(self, arn)

    @moto.add(RDSResponse)
    def describe_db_proxy_endpoints(self: Any) -> ActionResult:
        proxy, name = self.params.get("DBProxyName"), self.params.get("DBProxyEndpointName")
        if proxy and proxy not in self.backend.db_proxies:
            raise DBProxyNotFoundFault(proxy)
        found = [endpoint(self.backend, name)] if name else list(endpoints(self.backend).values())
        return ActionResult({"DBProxyEndpoints": [e for e in found if not proxy or e["DBProxyName"] == proxy]})

    @moto.add(RDSResponse)
    def modify_db_proxy_endpoint(self: Any) -> ActionResult:
        changed = endpoint(self.backend, self.params["DBProxyEndpointName"])
        if "VpcSecurityGroupIds" in self.params:
            changed["VpcSecurityGroupIds"] = self.params["VpcSecurityGroupIds"]
        return ActionResult({"DBProxyEndpoint": changed})

    @moto.add(RDSResponse)
    def delete_db_proxy_endpoint(self: Any) -> ActionResult:
        deleted = endpoint(self.backend, self.params["DBProxyEndpointName"])
        del endpoints(self.backend)[deleted["DBProxyEndpointName"]]
        return ActionResult({"DBProxyEndpoint": {**deleted, "Status": "deleting"}})


class _Tagged(TaggingMixin):
    def __init__(self, tags: list[dict[str, str]]) -> None:
        self.tags = tags


def pools_keep_their_init_query(moto: Moto) -> None:
    """ConnectionPoolConfig returns the InitQuery that it was given."""

    @moto.around(RDSBackend, "modify_db_proxy_target_group")
    def modify(original: Method, self: Any, proxy_name: str, config: Any) -> Any:
        group = original(self, proxy_name, config)
        group.init_query = config.get("InitQuery", getattr(group, "init_query", None))
        return group

    original = DBProxyTargetGroup.connection_pool_config
    moto.set(
        DBProxyTargetGroup,
        "connection_pool_config",
        property(lambda self: {**original.__get__(self), "InitQuery": getattr(self, "init_query", None)}),
    )


def security_group_rules_keep_their_description(moto: Moto) -> None:
    """A rule that names another group has its description as a rule with a CIDR has."""
    moto.set(
        SecurityGroupRule,
        "description",
        property(lambda self: self.ip_range.get("Description") or self.source_group.get("Description")),
    )


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


def composite_alarms_exist(moto: Moto) -> None:
    """PutCompositeAlarm: moto's PutMetricAlarm already reads its AlarmRule."""
    moto.set(CloudWatchResponse, "put_composite_alarm", CloudWatchResponse.put_metric_alarm)


def rotation_can_be_repeated(moto: Moto) -> None:
    """RotateSecret works again when AWSPENDING stands at the current version, and keeps the function it was given."""

    @moto.around(SecretsManagerBackend, "rotate_secret")
    def rotate(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        if secret := self.secrets.get(secret_id):
            for version in secret.versions.values():
                if {"AWSCURRENT", "AWSPENDING"} <= set(version["version_stages"]):
                    version["version_stages"].remove("AWSPENDING")
            given["rotation_lambda_arn"] = given.get("rotation_lambda_arn") or secret.rotation_lambda_arn or None
        return original(self, secret_id, **given)


def current_is_where_its_label_is(moto: Moto) -> None:
    """What GetSecretValue returns by default, and what PutSecretValue supersedes, is the version with AWSCURRENT."""

    @moto.around(SecretsManagerBackend, "update_secret_version_stage")
    def move(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        moved = original(self, secret_id, **given)
        if given["version_stage"] == "AWSCURRENT" and given["move_to_version_id"]:
            self.secrets[secret_id].set_default_version_id(given["move_to_version_id"])
        return moved


def rotation_that_waits_is_only_tested(moto: Moto) -> None:
    """RotateSecret with RotateImmediately=false tests the function with a copy of the value, and then removes that."""

    @moto.around(SecretsManagerBackend, "rotate_secret")
    def rotate(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        if given.get("rotate_immediately", True):
            return original(self, secret_id, **given)
        secret = self.secrets[secret_id]
        before = dict(secret.versions)
        current = before[secret.default_version_id]
        secret.secret_string, secret.secret_binary = current.get("secret_string"), current.get("secret_binary")
        try:
            return original(self, secret_id, **given)
        finally:
            secret.versions = before


def _random(length: int, alphabet: str = string.ascii_lowercase + string.digits) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
