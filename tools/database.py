"""The database of an environment as RDS describes it now: one instance, or a cluster with its instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Described = Mapping[str, Any]


@dataclass(frozen=True)
class Database:
    """What the two have in common, under one name each."""

    described: Described
    instances: tuple[Described, ...]  # of a cluster, the writer first

    @classmethod
    def of_instance(cls, instance: Described) -> Database:
        return cls(instance, (instance,))

    @property
    def is_cluster(self) -> bool:
        return "DBInstanceIdentifier" not in self.described

    @property
    def word(self) -> str:
        return "cluster" if self.is_cluster else "instance"

    @property
    def name(self) -> str:
        return str(self.described["DBClusterIdentifier" if self.is_cluster else "DBInstanceIdentifier"])

    @property
    def status(self) -> str:
        return str(self.described["Status" if self.is_cluster else "DBInstanceStatus"])

    @property
    def arn(self) -> str:
        return str(self.described["DBClusterArn" if self.is_cluster else "DBInstanceArn"])

    @property
    def resource_id(self) -> str:
        return str(self.described["DbClusterResourceId" if self.is_cluster else "DbiResourceId"])

    @property
    def host(self) -> str:
        return str(self.described["Endpoint"] if self.is_cluster else self.described["Endpoint"]["Address"])

    @property
    def port(self) -> int:
        return int(self.described["Port"] if self.is_cluster else self.described["Endpoint"]["Port"])

    @property
    def reader_host(self) -> str | None:
        """Where clients read from any reader; None of an instance."""
        return self.described.get("ReaderEndpoint") if self.is_cluster else None

    @property
    def members(self) -> dict[str, Described]:
        """What a cluster says of each instance of it, by its identifier, the writer first; {} of an instance."""
        found = self.described.get("DBClusterMembers", []) if self.is_cluster else []
        ordered = sorted(found, key=lambda member: not member["IsClusterWriter"])
        return {member["DBInstanceIdentifier"]: member for member in ordered}

    @property
    def writer(self) -> Described | None:
        """The instance that writes; None of a cluster that has none now."""
        return next((one for one in self.instances if not self.is_cluster or self._writes(one)), None)

    @property
    def readers(self) -> tuple[Described, ...]:
        return tuple(one for one in self.instances if self.is_cluster and not self._writes(one))

    @property
    def aurora(self) -> bool:
        return str(self.described.get("Engine", "")).startswith("aurora")

    @property
    def capacity(self) -> tuple[float, float] | None:
        """The range of each instance in ACU; None where it has a class."""
        found = self.described.get("ServerlessV2ScalingConfiguration") if self.is_cluster else None
        return (float(found["MinCapacity"]), float(found["MaxCapacity"])) if found else None

    def _writes(self, instance: Described) -> bool:
        return bool(self.members.get(instance["DBInstanceIdentifier"], {}).get("IsClusterWriter"))


def find(rds: Any, identifier: str, *, cluster: bool | None = None) -> Database:
    """Describe a cluster or an instance, of which only the caller may know which it is.

    Both may have one name, as while an instance becomes a cluster: then it is the cluster.
    """
    if cluster is not False:
        try:
            [found] = rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"]
        except ClientError as error:
            if cluster or error.response["Error"]["Code"] != "DBClusterNotFoundFault":
                raise
        else:
            return Database(found, _instances(rds, Database(found, ())))
    [instance] = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    return Database.of_instance(instance)


def _instances(rds: Any, cluster: Database) -> tuple[Described, ...]:
    """Describe the members of a cluster, the writer first."""
    pages = rds.get_paginator("describe_db_instances").paginate(
        Filters=[{"Name": "db-cluster-id", "Values": [cluster.name]}]
    )
    found = {one["DBInstanceIdentifier"]: one for page in pages for one in page["DBInstances"]}
    return tuple(found[name] for name in cluster.members if name in found)
