"""Snapshots of RDS instances: they need the key of the storage, and hold its data.

What the data is belongs to the stack: an instance, a snapshot of it, its copies and what is restored from them pass the
attribute `content` on.
"""

from __future__ import annotations

from typing import Any

from moto.rds.exceptions import RDSClientError
from moto.rds.models import RDSBackend

from local.aws.corrections.keys import is_enabled, storage_key
from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    snapshots_need_their_key(moto)
    restored_instances_begin_anew(moto)
    copies_hold_what_their_source_holds(moto)


def snapshots_need_their_key(moto: Moto) -> None:
    """An encrypted snapshot can be neither taken, copied nor restored while its key is of no use.

    RDS API reference: KMSKeyNotAccessibleFault of CopyDBSnapshot and RestoreDBInstanceFromDBSnapshot; the words are in
    pbudzon/aws-maintenance#13. That CreateDBSnapshot refuses too is an assumption.
    """

    def check(backend: Any, holder: Any) -> None:
        if holder.kms_key_id and not is_enabled(backend, holder.kms_key_id):
            message = (
                "The source snapshot KMS key does not exist, is not enabled or you do not have permissions to access it"
            )
            raise RDSClientError("KMSKeyNotAccessibleFault", message)

    @moto.around(RDSBackend, "create_db_snapshot")
    def take(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        if database := self.databases.get(db_instance_identifier):
            check(self, database)
        return original(self, db_instance_identifier, *args, **kwargs)

    @moto.around(RDSBackend, "copy_db_snapshot")
    def copy(original: Method, self: Any, **given: Any) -> Any:
        snapshot = self.get_db_snapshot(given["source_db_snapshot_identifier"])
        check(self, snapshot)
        key = given.get("kms_key_id")
        return original(self, **{**given, "kms_key_id": storage_key(self, key) if key else snapshot.kms_key_id})

    @moto.around(RDSBackend, "restore_db_instance_from_db_snapshot")
    def restore(original: Method, self: Any, from_snapshot_id: str, overrides: Any) -> Any:
        check(self, self.describe_db_snapshots(None, db_snapshot_identifier=from_snapshot_id)[0])
        return original(self, from_snapshot_id, overrides)


def restored_instances_begin_anew(moto: Moto) -> None:
    """A restored instance keeps data, master user and key of its snapshot, and no managed secret unless told to.

    API reference, RestoreDBInstanceFromDBSnapshot, which takes no key for the storage; User Guide, RestoreFromSnapshot.
    """

    @moto.around(RDSBackend, "restore_db_instance_from_db_snapshot")
    def restore(original: Method, self: Any, from_snapshot_id: str, overrides: Any) -> Any:
        snapshot = self.describe_db_snapshots(None, db_snapshot_identifier=from_snapshot_id)[0]
        source = snapshot.database
        # The call takes no role for Enhanced Monitoring, and the snapshot's may be gone.
        without = {"manage_master_user_password": False, "monitoring_interval": 0, "monitoring_role_arn": None}
        kept = {name: getattr(source, name, None) for name in without}
        vars(source).update(without)
        try:
            return original(self, from_snapshot_id, {**overrides, "content": getattr(snapshot, "content", None)})
        finally:
            vars(source).update(kept)


def copies_hold_what_their_source_holds(moto: Moto) -> None:
    """CopyDBSnapshot copies the data."""

    @moto.around(RDSBackend, "copy_db_snapshot")
    def copy(original: Method, self: Any, **given: Any) -> Any:
        made = original(self, **given)
        made.content = getattr(self.get_db_snapshot(given["source_db_snapshot_identifier"]), "content", None)
        return made
