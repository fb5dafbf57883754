"""Clusters: Aurora PostgreSQL and Multi-AZ DB clusters, their groups of parameters and their snapshots."""

from __future__ import annotations

import math
import re
import string
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.exceptions import DBClusterParameterGroupNotFoundError, InvalidParameterCombination, RDSClientError
from moto.rds.models import DBCluster, DBClusterParameterGroup, DBInstanceClustered, RDSBackend
from moto.rds.responses import RDSResponse

from local.aws.corrections import parameters
from local.aws.corrections.instances import whole_version
from local.aws.corrections.keys import storage_key
from local.aws.moto import Method, Moto, random_id

# Aurora's default up to version 16 is 0 (Aurora user guide, aurorapostgresql-security); RDS's is 1 (parameters.py).
_FORCES_TLS_FROM = 17

_MEMBERS_GROUP = "db_instance_parameter_group_name"


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    clusters_are_made_as_asked(moto)
    multi_az_clusters_have_three_instances(moto)
    clusters_keep_what_they_were_given(moto)
    upgrades_bring_their_groups(moto)
    provisioned_clusters_have_no_scaling_of_the_first_kind(moto)
    deletion_asks_for_a_snapshot_or_a_waiver(moto)
    failover_needs_a_member(moto)
    members_tell_whether_they_read_their_group(moto)
    groups_list_what_was_given(moto)
    groups_in_use_are_not_deleted(moto)
    snapshots_can_be_restored(moto)


def family(cluster: Any) -> str:
    """Return the family of groups that a cluster takes."""
    return parameters.family(cluster.engine_version, cluster.engine)


def in_force(cluster: Any, member: Any = None) -> dict[str, str]:
    """Return the parameters that a member runs with, as far as the stack reads them; else those of the writer."""
    server = member or cluster.writer
    given = _given_to(cluster) if server is None else dict(server.cluster_parameters)
    if scaling := cluster.serverless_v2_scaling_configuration:
        given.setdefault("max_connections", str(_connections(scaling)))
    if cluster.engine == "aurora-postgresql" and parameters.major(cluster.engine_version) < _FORCES_TLS_FROM:
        given.setdefault("rds.force_ssl", "0")
    return given


def restart(member: Any) -> None:
    """Let a server take every parameter of its cluster's group, as each start does."""
    member.cluster_parameters = _given_to(member.cluster)


def _connections(scaling: Any) -> int:
    """What Aurora computes from the largest capacity (Aurora user guide, aurora-serverless-v2-setting-capacity)."""
    least, most = float(scaling.get("min_capacity") or 0), float(scaling.get("max_capacity") or 1)
    return min(2000 if least < 1 else 5000, math.floor(211.43 * most - 22.4))


def _given_to(cluster: Any) -> dict[str, str]:
    group = cluster.backend.db_cluster_parameter_groups.get(cluster.parameter_group)
    return _given(group) if group else {}


def _given(group: Any) -> dict[str, str]:
    return {name: str(given["ParameterValue"]) for name, given in group.parameters.items()}


def clusters_are_made_as_asked(moto: Moto) -> None:
    """CreateDBCluster takes aurora-iopt1, IAM on a Multi-AZ cluster, a major version, and a group of its family.

    RDS API reference, CreateDBCluster (StorageType, EnableIAMDatabaseAuthentication); RDS user guide, the feature page
    of Multi-AZ DB clusters. The default group is named by the engine's family, and the storage has the account's key
    for RDS unless another is given.
    """

    @moto.around(DBCluster, "__init__")
    def create(original: Method, self: Any, backend: Any, **kwargs: Any) -> None:
        kwargs["engine_version"] = whole_version(kwargs.get("engine_version") or "17")
        storage, tokens = kwargs.get("storage_type"), kwargs.pop("enable_iam_database_authentication", False)
        aurora = kwargs["engine"] == "aurora-postgresql"
        if kwargs.get("storage_encrypted"):
            kwargs["kms_key_id"] = storage_key(backend, kwargs.get("kms_key_id"))
        if aurora:
            kwargs.update(storage_type="gp2", allocated_storage=1)
        original(self, backend, **kwargs)
        self.iam_auth = tokens
        self.kms_key_id = kwargs.get("kms_key_id")
        self.content = kwargs.get("content")
        if aurora:
            self.storage_type = storage or "aurora"
        if not kwargs.get("db_cluster_parameter_group_name"):
            self.parameter_group = f"default.{family(self)}"
        group = backend.db_cluster_parameter_groups.get(self.parameter_group)
        if group is not None and group.db_parameter_group_family != family(self):
            message = (
                f"The Parameter Group {group.name} with DBParameterGroupFamily {group.db_parameter_group_family} "
                f"cannot be used for this instance. Please use one with DBParameterGroupFamily {family(self)}"
            )
            raise InvalidParameterCombination(message)

    @moto.around(DBInstanceClustered, "__init__")
    def join(original: Method, self: Any, **kwargs: Any) -> None:
        """A member has its cluster's version, and moto lets nobody set what is the cluster's."""
        cluster = kwargs["backend"].clusters.get(kwargs["db_cluster_identifier"])
        if cluster is not None:
            kwargs["engine_version"] = cluster.engine_version
            kwargs["port"] = cluster.port
            self.cluster = cluster  # its groups are asked for before moto sets it
        original(self, **kwargs)
        restart(self)

    def default_group(member: Any) -> tuple[str, str]:
        return family(member.cluster), f"default.{family(member.cluster)}"

    moto.set(DBInstanceClustered, "default_db_parameter_group_details", default_group)


def multi_az_clusters_have_three_instances(moto: Moto) -> None:
    """CreateDBCluster with engine postgres makes a writer and two readers, in three zones; DeleteDBCluster ends them.

    RDS user guide, multi-az-db-clusters-concepts. That they are named NAME-instance-1 to 3 is an assumption.
    """

    @moto.around(RDSBackend, "create_db_cluster")
    def create(original: Method, self: Any, kwargs: Any) -> Any:
        cluster = original(self, kwargs)
        if cluster.engine == "postgres":
            for number, zone in enumerate(cluster.availability_zones[:3], 1):
                member = {
                    "db_instance_identifier": f"{cluster.db_cluster_identifier}-instance-{number}",
                    "db_cluster_identifier": cluster.db_cluster_identifier,
                    "db_instance_class": cluster.db_cluster_instance_class,
                    "engine": "postgres",
                    "availability_zone": zone,
                    "db_subnet_group_name": kwargs.get("db_subnet_group_name"),
                }
                self.create_db_instance(member)
        return cluster

    @moto.around(RDSBackend, "delete_db_cluster")
    def delete(original: Method, self: Any, cluster_identifier: str, *args: Any, **kwargs: Any) -> Any:
        cluster = self.clusters.get(cluster_identifier)
        if cluster is not None and cluster.engine == "postgres" and not cluster.deletion_protection:
            for member in cluster.members:
                self.delete_db_instance(member.db_instance_identifier, skip_final_snapshot=True)
        return original(self, cluster_identifier, *args, **kwargs)


def clusters_keep_what_they_were_given(moto: Moto) -> None:
    """ModifyDBCluster turns IAM authentication on and off, and describes what it was given."""
    kept = {
        "database_insights_mode": None,
        "engine_lifecycle_support": "open-source-rds-extended-support",
        "performance_insights_kms_key_id": None,
        "performance_insights_retention_period": None,
        "monitoring_interval": None,
        "monitoring_role_arn": None,
        "ca_certificate_identifier": None,
    }

    @moto.around(DBCluster, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        for name, default in kept.items():
            setattr(self, name, kwargs.get(name, default))

    @moto.around(RDSBackend, "modify_db_cluster")
    def modify(original: Method, self: Any, kwargs: Any) -> Any:
        given = dict(kwargs)
        self.describe_db_clusters(given["db_cluster_identifier"])  # an unknown one is an error
        cluster = self.clusters[given["db_cluster_identifier"]]
        tokens = given.pop("enable_iam_database_authentication", None)
        if tokens is not None:
            cluster.iam_auth = tokens
        if version := given.get("engine_version"):
            given["engine_version"] = whole_version(version, cluster.engine_version)
        return original(self, given)


def upgrades_bring_their_groups(moto: Moto) -> None:
    """A major upgrade must be allowed, goes up, brings groups of the new family, and restarts every member.

    API reference, ModifyDBCluster (EngineVersion, AllowMajorVersionUpgrade, DBClusterParameterGroupName,
    DBInstanceParameterGroupName). The words are those for an instance (instances.py), and those that the provider
    looks for to leave the instances' group out.
    """

    @moto.around(RDSBackend, "modify_db_cluster")
    def modify(original: Method, self: Any, kwargs: Any) -> Any:
        given = dict(kwargs)
        cluster, members_group = self.clusters[given["db_cluster_identifier"]], given.pop(_MEMBERS_GROUP, None)
        old, asked = cluster.engine_version, given.get("engine_version") or cluster.engine_version
        name = given.get("db_cluster_parameter_group_name") or cluster.parameter_group
        wanted = parameters.family(asked, cluster.engine)
        upgraded = parameters.check_upgrade(
            cluster.engine, old, asked, allowed=given.get("allow_major_version_upgrade")
        )
        if members_group and not upgraded:
            message = "db-instance-parameter-group-name can only be specified for a major version upgrade."
            raise InvalidParameterCombination(message)
        if group := self.db_cluster_parameter_groups.get(name):
            parameters.check_family(name, group.db_parameter_group_family, wanted)
        if members_group and (group := self.db_parameter_groups.get(members_group)):
            parameters.check_family(members_group, group.family, wanted)
        answer = original(self, given)
        if upgraded:
            for member in cluster.members:
                member.db_parameter_group_name = members_group or member.db_parameter_group_name
                restart(member)
        return answer


def provisioned_clusters_have_no_scaling_of_the_first_kind(moto: Moto) -> None:
    """ScalingConfigurationInfo is of engine mode serverless alone (API reference, DBCluster)."""
    described = DBCluster.scaling_configuration_info
    moto.set(
        DBCluster,
        "scaling_configuration_info",
        property(lambda self: described.__get__(self) if self.engine_mode == "serverless" else None),
    )


def deletion_asks_for_a_snapshot_or_a_waiver(moto: Moto) -> None:
    """DeleteDBCluster needs a FinalDBSnapshotIdentifier or SkipFinalSnapshot (API reference, DeleteDBCluster)."""

    @moto.around(RDSResponse, "delete_db_cluster")
    def delete(original: Method, self: Any) -> Any:
        if not self.params.get("SkipFinalSnapshot") and not self.params.get("FinalDBSnapshotIdentifier"):
            message = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            raise InvalidParameterCombination(message)
        return original(self)


def failover_needs_a_member(moto: Moto) -> None:
    """FailoverDBCluster takes a reader of this cluster only, without one that of the lowest tier.

    API reference, TargetDBInstanceIdentifier; Aurora user guide, "Fault tolerance for an Aurora DB cluster".
    """

    @moto.around(RDSBackend, "failover_db_cluster")
    def failover(
        original: Method, self: Any, db_cluster_identifier: str, target_db_instance_identifier: str | None = None
    ) -> Any:
        if target_db_instance_identifier:
            target = self.databases.get(target_db_instance_identifier)
            if getattr(target, "db_cluster_identifier", None) != db_cluster_identifier:
                message = f"Cannot find target instance: {target_db_instance_identifier}"
                raise RDSClientError("InvalidParameterValue", message)
        elif cluster := self.clusters.get(db_cluster_identifier):
            readers = [member for member in cluster.members if not member.is_cluster_writer]
            chosen = min(readers, key=lambda reader: int(reader.promotion_tier), default=None)
            target_db_instance_identifier = chosen and chosen.db_instance_identifier
        return original(self, db_cluster_identifier, target_db_instance_identifier)


def members_tell_whether_they_read_their_group(moto: Moto) -> None:
    """DBClusterParameterGroupStatus of a member is pending-reboot until it restarts with the parameters of its group.

    API reference, DBClusterMember; Aurora user guide, USER_WorkingWithParamGroups.
    """
    described = DBCluster.db_cluster_members

    def status(cluster: Any, identifier: str) -> str:
        read = cluster.backend.databases[identifier].cluster_parameters
        return "in-sync" if read == _given_to(cluster) else "pending-reboot"

    def members(self: Any) -> list[dict[str, Any]]:
        return [
            {**member, "DBClusterParameterGroupStatus": status(self, member["DBInstanceIdentifier"])}
            for member in described.__get__(self)
        ]

    moto.set(DBCluster, "db_cluster_members", property(members))


def groups_list_what_was_given(moto: Moto) -> None:
    """DescribeDBClusterParameters lists what RDS gives and what the user gave, and ResetDBClusterParameterGroup works.

    A parameter that is set to what it already is keeps its source: as of the groups of instances, in parameters.py.
    """

    @moto.around(DBClusterParameterGroup, "update_cluster_parameters")
    def update(original: Method, self: Any, new_parameters: Any) -> None:
        for parameter in new_parameters:
            name = parameter["ParameterName"]
            if name in parameters.STATIC and parameter.get("ApplyMethod") == "immediate":
                raise InvalidParameterCombination("cannot use immediate apply method for static parameter")
        original(self, [{**parameter, "Source": "user"} for parameter in new_parameters])
        _announce(self, new_parameters)

    @moto.add(RDSResponse)
    def describe_db_cluster_parameters(self: Any) -> ActionResult:
        name, wanted = self.params["DBClusterParameterGroupName"], self.params.get("Source")
        group = self.backend.db_cluster_parameter_groups.get(name)
        if group is None:
            raise DBClusterParameterGroupNotFoundError(name)
        found = [
            {"ApplyType": "static" if parameter in parameters.STATIC else "dynamic", "IsModifiable": True, **given}
            for parameter, given in group.parameters.items()
        ]
        return ActionResult({"Parameters": [given for given in found if wanted in (None, given["Source"])]})

    @moto.add(RDSResponse)
    def reset_db_cluster_parameter_group(self: Any) -> ActionResult:
        name = self.params["DBClusterParameterGroupName"]
        group = self.backend.db_cluster_parameter_groups.get(name)
        if group is None:
            raise DBClusterParameterGroupNotFoundError(name)
        reset = [parameter.original_dict() for parameter in self.params.get("Parameters", [])]
        if self.params.get("ResetAllParameters"):
            reset = [{"ParameterName": parameter, "ApplyMethod": "pending-reboot"} for parameter in group.parameters]
        for parameter in reset:
            group.parameters.pop(parameter["ParameterName"], None)
        _announce(group, reset)
        return ActionResult({"DBClusterParameterGroupName": group.name})


def groups_in_use_are_not_deleted(moto: Moto) -> None:
    """DeleteDBClusterParameterGroup refuses a group that a cluster has (API: InvalidDBParameterGroupStateFault)."""

    @moto.around(RDSBackend, "delete_db_cluster_parameter_group")
    def delete(original: Method, self: Any, db_cluster_parameter_group_name: str) -> Any:
        if any(cluster.parameter_group == db_cluster_parameter_group_name for cluster in self.clusters.values()):
            message = (
                "One or more database instances are still members of this parameter group "
                f"{db_cluster_parameter_group_name}, so the group cannot be deleted"
            )
            raise RDSClientError("InvalidDBParameterGroupState", message)
        return original(self, db_cluster_parameter_group_name)


def snapshots_can_be_restored(moto: Moto) -> None:
    """A restored cluster keeps data, master user and key of its snapshot, and no managed secret unless told to.

    A snapshot of an instance can be restored too, by its ARN only, to the same or a later major version. API reference,
    RestoreDBClusterFromSnapshot (SnapshotIdentifier, EngineVersion); moto fails where RDS manages the password.
    """

    @moto.around(RDSBackend, "restore_db_cluster_from_snapshot")
    def restore(_: Method, self: Any, from_snapshot_id: str, overrides: Any) -> Any:
        given = {name: value for name, value in dict(overrides).items() if value not in (None, "", [])}
        snapshot = _snapshot_of_instance(self, from_snapshot_id)
        if snapshot is None:
            snapshot = self.describe_db_cluster_snapshots(
                db_cluster_identifier=None, db_snapshot_identifier=from_snapshot_id
            )[0]
            source = snapshot.cluster
            kept = {name: getattr(source, name) for name in ("engine", "engine_version", "database_name")}
        else:
            source = snapshot.database
            kept = {"engine_version": source.engine_version, "database_name": source.db_name}
        kept |= {name: getattr(source, name) for name in ("master_username", "port", "storage_encrypted", "kms_key_id")}
        if (asked := given.get("engine_version")) and parameters.major(asked) < parameters.major(source.engine_version):
            message = f"Cannot restore a snapshot of version {source.engine_version} to version {asked}."
            raise InvalidParameterCombination(message)
        content = getattr(snapshot, "content", None)
        password = random_id(28, string.ascii_letters)
        cluster = self.create_db_cluster({**kept, "content": content, "master_user_password": password, **given})
        if not hasattr(cluster, "master_user_secret"):
            cluster._master_user_password = ""  # the snapshot's, which nobody knows here
        return cluster


def _snapshot_of_instance(backend: Any, identifier: str) -> Any:
    """Return the snapshot of an instance that an ARN names; None where it is no such ARN."""
    found = re.fullmatch(r"arn:[^:]+:rds:[^:]+:[0-9]+:snapshot:(.+)", identifier)
    return backend.describe_db_snapshots(None, db_snapshot_identifier=found[1])[0] if found else None


def _announce(group: Any, changed: Any) -> None:
    """Let the servers of a group take the dynamic parameters among those that changed."""
    names = {parameter["ParameterName"] for parameter in changed if parameter.get("ApplyMethod") == "immediate"}
    given = _given(group)
    for cluster in group.backend.clusters.values():
        if cluster.parameter_group == group.name:
            for member in cluster.members:
                kept = {name: value for name, value in member.cluster_parameters.items() if name not in names}
                member.cluster_parameters = kept | {name: given[name] for name in names & given.keys()}
