"""RDS instances: what was made, changed, rebooted or deleted is told, for the server behind it to follow."""

from __future__ import annotations

from typing import Any

from moto.rds.models import DBInstanceClustered, RDSBackend

from local.aws.account import Events, instance_of, proxy_of
from local.aws.corrections import parameters
from local.aws.hooks import clusters, reboots
from local.aws.moto import Method, Moto


def hook(moto: Moto, events: Events) -> None:
    """Tell of instances that are made, changed, restarted, stopped, started, copied and deleted."""
    _hook_stops(moto, events)
    take_back = RDSBackend.delete_db_instance

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        database = original(self, db_kwargs)
        if is_member(database):
            return database
        try:
            events.instance_created(instance_of(database))
        except BaseException:
            database.deletion_protection = False
            take_back(self, database.db_instance_identifier, skip_final_snapshot=True)
            raise
        return database

    @moto.around(RDSBackend, "create_db_snapshot")
    def take_snapshot(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        snapshot = original(self, *args, **kwargs)
        if snapshot.snapshot_type == "manual":  # moto takes an automated one before the instance is there
            snapshot.content = events.snapshot_taken(instance_of(self.databases[snapshot.db_instance_identifier]))
        return snapshot

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        starts = self.describe_db_instances(db_instance_identifier)[0].starts
        database = original(self, db_instance_identifier, db_kwargs)
        tell(events, database, starts)
        return database

    @moto.around(RDSBackend, "modify_db_parameter_group")
    def modify_group(original: Method, self: Any, db_parameter_group_name: str, *args: Any, **kwargs: Any) -> Any:
        group = original(self, db_parameter_group_name, *args, **kwargs)
        for database in list(self.databases.values()):
            if not is_member(database) and database.db_parameter_groups()[0] is group:
                events.instance_changed(instance_of(database))
        return group

    @moto.around(RDSBackend, "reboot_db_instance")
    def reboot(original: Method, self: Any, db_instance_identifier: str) -> Any:
        """Answer at once; the instance is `rebooting` until its server is back."""
        database = original(self, db_instance_identifier)

        def restart() -> None:
            if is_member(database):
                clusters.restart(events, database)
            else:
                parameters.restart(database)
                events.instance_restarted(instance_of(database))

        reboots.begin(database, db_instance_identifier, restart)
        return database

    @moto.around(RDSBackend, "delete_db_instance")
    def delete(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        database = self.databases.get(db_instance_identifier)
        if database is not None and is_member(database):
            return original(self, db_instance_identifier, *args, **kwargs)
        view = instance_of(database) if database else None  # before its secret is gone
        served = [proxy for proxy in list(self.db_proxies.values()) if _targets(proxy, db_instance_identifier)]
        deleted = original(self, db_instance_identifier, *args, **kwargs)
        for proxy in served:
            events.proxy_changed(proxy_of(proxy))
        if view is not None:
            events.instance_deleted(view)
        return deleted


def _hook_stops(moto: Moto, events: Events) -> None:
    @moto.around(RDSBackend, "stop_db_instance")
    def stop(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        database = original(self, db_instance_identifier, *args, **kwargs)
        events.instance_stopped(instance_of(database))
        return database

    @moto.around(RDSBackend, "start_db_instance")
    def start(original: Method, self: Any, db_instance_identifier: str) -> Any:
        database = original(self, db_instance_identifier)
        parameters.restart(database)
        events.instance_started(instance_of(database))
        return database


def is_member(database: Any) -> bool:
    """Tell whether an instance belongs to a cluster, whose server stands for it."""
    return isinstance(database, DBInstanceClustered)


def tell(events: Events, database: Any, starts: int) -> None:
    """Tell of a change, and of a restart if there was one since `starts`; of a member the cluster tells."""
    if is_member(database):
        return
    if database.starts == starts:
        events.instance_changed(instance_of(database))
    else:
        events.instance_restarted(instance_of(database))


def _targets(proxy: Any, identifier: str) -> bool:
    return any(target.rds_resource_id == identifier for target in proxy.proxy_target_groups["default"].targets)
