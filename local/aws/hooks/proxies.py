"""RDS proxies: one is told of once it has a target, and its health is asked of what stands in for it."""

from __future__ import annotations

from typing import Any

from moto.rds.exceptions import DBClusterNotFoundError, DBInstanceNotFoundError, RDSClientError
from moto.rds.models import DBProxyTarget, RDSBackend
from moto.rds.responses import RDSResponse

from local.aws.account import Events, proxy_of
from local.aws.moto import Method, Moto


def hook(moto: Moto, events: Events) -> None:
    """Tell of proxies that get a target, change or go; ask for the health of a target."""

    def changed(backend: Any, name: str, *, had_target: bool) -> None:
        view = proxy_of(backend.db_proxies[name])
        if view.instance is not None or had_target:
            events.proxy_changed(view)

    def has_target(backend: Any, name: str) -> bool:
        return name in backend.db_proxies and proxy_of(backend.db_proxies[name]).instance is not None

    @moto.around(RDSBackend, "register_db_proxy_targets")
    def register(
        original: Method, self: Any, db_proxy_name: str, *, db_instance_identifiers: list[str], **kwargs: Any
    ) -> Any:
        for identifier in db_instance_identifiers:
            if identifier not in self.databases:
                raise DBInstanceNotFoundError(identifier)
        for identifier in kwargs.get("db_cluster_identifiers") or []:
            if identifier not in self.clusters:
                raise DBClusterNotFoundError(identifier)
            if not self.clusters[identifier].members:  # hashicorp/terraform-provider-aws#19096
                message = f"DB cluster {identifier} has no instance that is in [AVAILABLE, MODIFYING, BACKING_UP]."
                raise RDSClientError("InvalidDBInstanceState", message)
        targets = original(self, db_proxy_name=db_proxy_name, db_instance_identifiers=db_instance_identifiers, **kwargs)
        try:
            changed(self, db_proxy_name, had_target=False)
        except BaseException:
            group = self.db_proxies[db_proxy_name].proxy_target_groups["default"]
            group.targets = [target for target in group.targets if target not in targets]
            raise
        return targets

    for name in ("modify_db_proxy", "modify_db_proxy_target_group", "deregister_db_proxy_targets"):

        @moto.around(RDSBackend, name)
        def modify(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
            proxy = args[0] if args else kwargs.get("proxy_name") or kwargs["db_proxy_name"]
            had_target = has_target(self, proxy)
            result = original(self, *args, **kwargs)
            changed(self, proxy, had_target=had_target)
            return result

    @moto.around(RDSBackend, "delete_db_proxy")
    def delete(original: Method, self: Any, proxy_name: str) -> Any:
        view = proxy_of(self.describe_db_proxies(proxy_name)[0])
        deleted = original(self, proxy_name)
        events.proxy_deleted(view)
        return deleted

    for action in ("create_db_proxy_endpoint", "modify_db_proxy_endpoint", "delete_db_proxy_endpoint"):

        @moto.around(RDSResponse, action)
        def change_endpoint(original: Method, self: Any) -> Any:
            answer = original(self)
            name = answer.result["DBProxyEndpoint"]["DBProxyName"]
            changed(self.backend, name, had_target=False)
            return answer

    def health(target: Any) -> dict[str, str]:
        group = next(
            group
            for proxy in list(target.backend.db_proxies.values())
            for group in list(proxy.proxy_target_groups.values())
            if target in group.targets
        )
        found = events.target_health(proxy_of(target.backend.db_proxies[group.db_proxy_name]))
        answer = {"State": found.state, "Reason": found.reason, "Description": found.description}
        return {name: value for name, value in answer.items() if value is not None}

    moto.set(DBProxyTarget, "target_health", property(health))
