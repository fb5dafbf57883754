"""RDS instances and their master secrets."""

from __future__ import annotations

import json
import string
from typing import Any

from moto.rds.exceptions import DBParameterGroupNotFoundError, InvalidParameterCombination, RDSClientError
from moto.rds.models import (
    DBInstance,
    MasterUserSecret,
    RDSBackend,
)

from local.aws.corrections import parameters
from local.aws.moto import Method, Moto, random_id

# What waits for the maintenance window (RDS user guide, user-modifyinstance-settings), of moto's attributes, and its
# name among PendingModifiedValues (botocore's model of the API). Monitoring waits as well, but has no name there.
_WAITING = {
    "allocated_storage": "AllocatedStorage",
    "ca_certificate_identifier": "CACertificateIdentifier",
    "db_instance_class": "DBInstanceClass",
    "db_subnet_group_name": "DBSubnetGroupName",
    "enable_iam_database_authentication": "IAMDatabaseAuthenticationEnabled",
    "engine_version": "EngineVersion",
    "iops": "Iops",
    "multi_az": "MultiAZ",
    "new_db_instance_identifier": "DBInstanceIdentifier",
    "storage_throughput": "StorageThroughput",
    "storage_type": "StorageType",
}

# Each of them restarts the server (the same page; of the port it says: at once, whatever is asked).
_RESTARTS = {"db_instance_class", "db_subnet_group_name", "engine_version", "new_db_instance_identifier", "port"}

# RDS installs its own choice of a minor version when only the major one is asked for. These numbers are examples.
_MINOR_VERSIONS = {"16": "16.10", "17": "17.6", "18": "18.1"}


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    instances_have_a_resource_id_of_their_own(moto)
    instances_keep_what_they_were_given(moto)
    master_secrets_hold_the_given_user(moto)
    versions_arewhole_version(moto)
    changes_wait_for_the_window(moto)
    storage_has_its_limits(moto)
    upgrades_need_a_group_of_the_new_family(moto)
    reboots_need_an_instance_at_work(moto)
    subnet_groups_stay_when_they_are_modified(moto)


def apply_what_waits(backend: Any, database: Any) -> None:
    """Make the changes that wait for the maintenance window, as it does."""
    waiting, database.waiting = dict(database.__dict__.get("waiting", {})), {}
    if waiting:
        backend.change_db_instance(database.db_instance_identifier, waiting)
        if _RESTARTS & waiting.keys():
            parameters.restart(database)


def instances_have_a_resource_id_of_their_own(moto: Moto) -> None:
    """DbiResourceId is unique in a region: policies for rds-db:connect name it."""

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.dbi_resource_id = f"db-{random_id(26, string.ascii_uppercase + string.digits)}"


def instances_keep_what_they_were_given(moto: Moto) -> None:
    """DescribeDBInstances returns every setting of CreateDBInstance; the default authority is rds-ca-rsa2048-g1."""
    kept = {
        "performance_insights_kms_key_id": None,
        "performance_insights_retention_period": None,
        "database_insights_mode": "standard",
        "engine_lifecycle_support": "open-source-rds-extended-support",
        "enable_performance_insights": False,
        "content": None,
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
        password = random_id(28, string.ascii_letters + string.digits)
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


def versions_arewhole_version(moto: Moto) -> None:
    """A version of which only the major number is given is reported with a minor one; none at all means a late one."""

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        version = kwargs.get("engine_version") or "17"
        kwargs["engine_version"] = _MINOR_VERSIONS.get(version, version)
        original(self, *args, **kwargs)

    def default_group(database: Any) -> tuple[str, str]:
        family = parameters.family(database.engine_version)
        return family, f"default.{family}"

    moto.set(DBInstance, "default_db_parameter_group_details", default_group)


def changes_wait_for_the_window(moto: Moto) -> None:
    """ModifyDBInstance without ApplyImmediately keeps what may wait; with it, all that waits is changed at once.

    RDS user guide, user-modifyinstance-settings; ModifyDBInstance, ApplyImmediately. Only what differs waits, and what
    is set back waits no more. A change of the port restarts the server at once.
    """

    moto.set(RDSBackend, "change_db_instance", RDSBackend.modify_db_instance)

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        database = self.describe_db_instances(db_instance_identifier)[0]
        given = {name: value for name, value in dict(db_kwargs).items() if value is not None}
        if "db_port_number" in given:
            given["port"] = given.pop("db_port_number")
        if "engine_version" in given:
            given["engine_version"] = whole_version(given["engine_version"], database.engine_version)
        waiting: dict[str, Any] = database.__dict__.setdefault("waiting", {})
        for name in [name for name in given if _waits(name, given[name], database)]:
            waiting.pop(name, None)
            value = given.pop(name)
            if value != _current(database, name):
                waiting[name] = value
        if "engine_version" in waiting and "db_parameter_group_name" in given:
            waiting["db_parameter_group_name"] = given.pop("db_parameter_group_name")
        if "engine_version" not in waiting:
            waiting.pop("db_parameter_group_name", None)
        restarts = "port" in given and given["port"] != database.port
        original(self, db_instance_identifier, given)
        if restarts:
            parameters.restart(database)
        if given.get("apply_immediately"):
            apply_what_waits(self, database)
        return database

    def pending(database: Any) -> dict[str, Any]:
        waiting = database.__dict__.get("waiting", {})
        names = _WAITING | {"backup_retention_period": "BackupRetentionPeriod"}
        return {names[name]: value for name, value in waiting.items() if name in names}

    moto.set(DBInstance, "pending_modified_values", property(pending))


def storage_has_its_limits(moto: Moto) -> None:
    """Of gp3, IOPS and throughput can be given from 400 GiB on, and throughput is at most a quarter of the IOPS.

    RDS user guide, CHAP_Storage (gp3), with the message of cloudtools/troposphere#2141; of the ratio, the API's
    ValidStorageOptions (StorageThroughputToIopsRatio, 0 to 0.25). The message about the ratio is not known.
    """

    def check(storage_type: str | None, allocated: int, iops: int | None, throughput: int | None) -> None:
        if storage_type != "gp3":
            return
        if allocated < 400 and (iops or throughput):
            message = (
                "You can't specify IOPS or storage throughput for engine postgres and a storage size less than 400."
            )
            raise InvalidParameterCombination(message)
        if (throughput or 0) > 0.25 * (iops or 12000):
            raise InvalidParameterCombination(f"Invalid throughput to IOPS ratio: {throughput} to {iops or 12000}")

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        values = [db_kwargs.get(name) for name in ("storage_type", "allocated_storage", "iops", "storage_throughput")]
        check(values[0], int(values[1] or 0), values[2], values[3])
        return original(self, db_kwargs)

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        database, given = self.describe_db_instances(db_instance_identifier)[0], dict(db_kwargs)
        if given.keys() & {"storage_type", "allocated_storage", "iops", "storage_throughput"}:
            iops, throughput = (given.get(name) or getattr(database, name) for name in ("iops", "storage_throughput"))
            kind = given.get("storage_type") or database.storage_type
            check(kind, int(given.get("allocated_storage") or database.allocated_storage), iops, throughput)
        return original(self, db_instance_identifier, db_kwargs)


def upgrades_need_a_group_of_the_new_family(moto: Moto) -> None:
    """An instance takes groups of its version's family only; a major upgrade must be allowed and bring its own group.

    ModifyDBInstance (EngineVersion, AllowMajorVersionUpgrade, DBParameterGroupName). The messages are those of
    hashicorp/terraform#8471, aws/aws-cli#5939 and mattermost/mattermost-load-test-ng#707; the downgrade's is not known.
    """

    def check_family(group: Any, version: str, engine: str) -> None:
        parameters.check_family(group.name, group.family, parameters.family(version, engine))

    def group(backend: Any, name: str) -> Any:
        if name not in backend.db_parameter_groups:
            raise DBParameterGroupNotFoundError(name)
        return backend.db_parameter_groups[name]

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        name, version = db_kwargs.get("db_parameter_group_name"), db_kwargs.get("engine_version")
        if name and version and not name.startswith("default."):
            check_family(group(self, name), version, db_kwargs["engine"])
        return original(self, db_kwargs)

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        database, given = self.describe_db_instances(db_instance_identifier)[0], dict(db_kwargs)
        waiting = database.__dict__.get("waiting", {})
        target = given.get("engine_version") or waiting.get("engine_version") or database.engine_version
        name = given.get("db_parameter_group_name")
        allowed = given.get("allow_major_version_upgrade")
        if given.get("engine_version") and parameters.check_upgrade(
            "postgres", database.engine_version, target, allowed=allowed
        ):
            current = database.db_parameter_groups()[0].name
            if not name and "db_parameter_group_name" not in waiting and not current.startswith("default."):
                raise InvalidParameterCombination(
                    f"The current DB instance parameter group {current} is custom. You must explicitly specify a new "
                    "DB instance parameter group, either default or custom, for the engine version upgrade."
                )
        if name and not name.startswith("default."):
            check_family(group(self, name), target, database.engine)
        return original(self, db_instance_identifier, db_kwargs)


def reboots_need_an_instance_at_work(moto: Moto) -> None:
    """RebootDBInstance is refused while something else is done with the instance (API: InvalidDBInstanceStateFault).

    A server that does not start with its parameters is rebooted when they are put right (RDS user guide,
    troubleshooting, incompatible-parameters).
    """

    @moto.around(RDSBackend, "reboot_db_instance")
    def reboot(original: Method, self: Any, db_instance_identifier: str) -> Any:
        database = original(self, db_instance_identifier)
        if database.status not in {"available", "incompatible-parameters"}:
            message = f"Instance {db_instance_identifier} is not in available state."
            raise RDSClientError("InvalidDBInstanceState", message)
        return database


def _waits(name: str, value: Any, database: Any) -> bool:
    if name == "backup_retention_period":  # a change from one number of days to another does not wait
        return (int(value) == 0) != (int(database.backup_retention_period) == 0)
    return name in _WAITING


def _current(database: Any, name: str) -> Any:
    if name == "db_subnet_group_name":
        return database._db_subnet_group_name
    return getattr(database, {"new_db_instance_identifier": "db_instance_identifier"}.get(name, name))


def whole_version(version: str, current: str = "") -> str:
    """Return the version that RDS installs: its own choice, unless the instance has a minor one of this version."""
    if "." in version:
        return version
    return current if current.split(".", maxsplit=1)[0] == version else _MINOR_VERSIONS.get(version, version)


def subnet_groups_stay_when_they_are_modified(moto: Moto) -> None:
    """ModifyDBSubnetGroup changes the subnets of a group, which stays (RDS API reference, ModifyDBSubnetGroup)."""

    @moto.around(RDSBackend, "modify_db_subnet_group")
    def modify(original: Method, self: Any, subnet_name: str, *args: Any, **kwargs: Any) -> Any:
        self.describe_db_subnet_groups(subnet_name)  # an unknown one is an error
        group = original(self, subnet_name, *args, **kwargs)
        self.subnet_groups[subnet_name] = group
        return group
