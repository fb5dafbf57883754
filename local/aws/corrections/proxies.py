"""RDS Proxy: proxies, endpoints, target groups."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.rds.exceptions import DBProxyNotFoundFault, RDSClientError
from moto.rds.models import (
    DBProxyTargetGroup,
    RDSBackend,
    TaggingMixin,
)
from moto.rds.responses import RDSResponse

from local.aws.moto import Method, Moto, random_id


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    proxies_can_be_modified(moto)
    proxies_have_further_endpoints(moto)
    pools_keep_their_init_query(moto)
    deletion_of_an_instance_ends_its_registration(moto)
    only_a_registered_target_can_be_deregistered(moto)
    targets_of_a_cluster_are_its_instances(moto)


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
    """A proxy takes endpoints beside its default one. READ_ONLY is refused where the target is an instance."""
    endpoints = _endpoints

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
        targets = proxy.proxy_target_groups["default"].targets
        role = params.get("TargetRole", "READ_WRITE")
        if role == "READ_ONLY" and any(target.type == "RDS_INSTANCE" for target in targets):
            message = "RDS Proxy endpoints with the target role READ_ONLY are not supported for DB instances."
            raise RDSClientError("InvalidParameterValue", message)
        region, account = backend.region_name, backend.account_id
        endpoints(backend)[name] = {
            "DBProxyEndpointName": name,
            "DBProxyEndpointArn": f"arn:aws:rds:{region}:{account}:db-proxy-endpoint:prx-endpoint-{random_id(17)}",
            "DBProxyName": proxy.db_proxy_name,
            "Status": "available",
            "VpcId": proxy.vpc_id,
            "VpcSecurityGroupIds": params.get("VpcSecurityGroupIds") or proxy.vpc_security_group_ids,
            "VpcSubnetIds": params["VpcSubnetIds"],
            "Endpoint": f"{name}.endpoint.{proxy.endpoint.split('.', 1)[1]}",
            "CreatedDate": utcnow(),
            "TargetRole": role,
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

    @moto.around(RDSBackend, "delete_db_proxy")
    def delete_proxy(original: Method, self: Any, proxy_name: str) -> Any:
        deleted = original(self, proxy_name)
        for found in [found for found in endpoints(self).values() if found["DBProxyName"] == proxy_name]:
            del endpoints(self)[found["DBProxyEndpointName"]]
        return deleted


def further_endpoints(proxy: Any) -> list[dict[str, Any]]:
    """Return what a proxy has beside its default endpoint, as the API describes it."""
    return [found for found in list(_endpoints(proxy.backend).values()) if found["DBProxyName"] == proxy.db_proxy_name]


def _endpoints(backend: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = backend.__dict__.setdefault("db_proxy_endpoints", {})
    return found


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


def deletion_of_an_instance_ends_its_registration(moto: Moto) -> None:
    """A deleted instance or cluster is no target any more, and one made under its name is not one by itself.

    RDS User Guide, rds-proxy-events: RDS-EVENT-0214.
    """

    @moto.around(RDSBackend, "delete_db_instance")
    def delete(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        deleted = original(self, db_instance_identifier, *args, **kwargs)
        forget(self, db_instance_identifier)
        return deleted

    @moto.around(RDSBackend, "delete_db_cluster")
    def delete_cluster(original: Method, self: Any, cluster_identifier: str, *args: Any, **kwargs: Any) -> Any:
        deleted = original(self, cluster_identifier, *args, **kwargs)
        forget(self, cluster_identifier)
        return deleted

    def forget(backend: Any, identifier: str) -> None:
        for proxy in list(backend.db_proxies.values()):
            for group in list(proxy.proxy_target_groups.values()):
                group.targets = [t for t in group.targets if t.rds_resource_id != identifier]


def only_a_registered_target_can_be_deregistered(moto: Moto) -> None:
    """DeregisterDBProxyTargets of what is not registered is refused (API reference: DBProxyTargetNotFoundFault)."""

    @moto.around(RDSBackend, "deregister_db_proxy_targets")
    def deregister(original: Method, self: Any, **given: Any) -> Any:
        name = given["db_proxy_name"]
        group = self.describe_db_proxies(name)[0].proxy_target_groups["default"]
        registered = {target.rds_resource_id for target in group.targets}
        for identifier in [*(given["db_instance_identifiers"] or []), *(given["db_cluster_identifiers"] or [])]:
            if identifier not in registered:
                message = f"DB proxy target {identifier} of DB proxy {name} not found."
                raise RDSClientError("DBProxyTargetNotFoundFault", message)
        return original(self, **given)


def targets_of_a_cluster_are_its_instances(moto: Moto) -> None:
    """DescribeDBProxyTargets lists the instances of a tracked cluster with their roles and their health.

    API reference, DBProxyTarget: Type, Role, TrackedClusterId. That the row of the cluster itself has no health is an
    assumption: the API gives health to what clients are led to.
    """

    def described(target: Any, **changes: Any) -> dict[str, Any]:
        return {
            "Endpoint": target.endpoint,
            "RdsResourceId": target.rds_resource_id,
            "Port": target.port,
            "Type": target.type,
            **changes,
        }

    @moto.add(RDSResponse)
    def describe_db_proxy_targets(self: Any) -> ActionResult:
        rows = []
        for target in self.backend.describe_db_proxy_targets(proxy_name=self.params["DBProxyName"]):
            if target.type != "TRACKED_CLUSTER":
                rows.append(described(target, Role="READ_WRITE", TargetHealth=target.target_health))
                continue
            rows.append(described(target))
            rows += [
                described(
                    target,
                    Endpoint=member.address,
                    RdsResourceId=member.db_instance_identifier,
                    Type="RDS_INSTANCE",
                    TrackedClusterId=target.rds_resource_id,
                    Role="READ_WRITE" if member.is_cluster_writer else "READ_ONLY",
                    TargetHealth=target.target_health,
                )
                for member in self.backend.clusters[target.rds_resource_id].members
            ]
        return ActionResult({"Targets": rows})
