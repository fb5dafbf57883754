"""Say what a destroy left and how to restore it: final_snapshot ENV, with what terraform output -json said before."""

import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.outputs import region, values


def report(environment: str, rds: Any, kms: Any, name: str) -> str:
    """Name the snapshot and its key, and the commands to restore from it or to delete it."""
    snapshot = _find(rds, name)
    if snapshot is None:
        return f"No final snapshot {name} was taken."
    kind = "db-cluster-snapshot" if "DBClusterSnapshotIdentifier" in snapshot else "db-snapshot"
    region = rds.meta.region_name
    lines = [f"The final snapshot {name} ({snapshot['AllocatedStorage']} GiB) is {snapshot['Status']}."]
    if key := snapshot.get("KmsKeyId"):
        lines += _key(kms, key, region)
    lines += [
        f"To restore {environment} from it:",
        f"    TF_VAR_restore_from_snapshot={name} make deploy ENV={environment}",
        "To delete it, and the data with it:",
        f"    aws rds delete-{kind} --region {region} --{kind}-identifier {name}",
    ]
    return "\n".join(lines)


def _find(rds: Any, name: str) -> dict[str, Any] | None:
    """Describe the snapshot of an instance or of a cluster; None where there is none of this name."""
    try:
        return dict(rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0])
    except rds.exceptions.DBSnapshotNotFoundFault:
        pass
    try:
        return dict(rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)["DBClusterSnapshots"][0])
    except rds.exceptions.DBClusterSnapshotNotFoundFault:
        return None


def _key(kms: Any, key: str, region: str) -> list[str]:
    found = kms.describe_key(KeyId=key)["KeyMetadata"]
    if found.get("KeyManager") == "AWS":
        return [f"Its key {key} is the account's own for RDS, which nobody can delete."]
    if found["KeyState"] == "Enabled":
        return [f"Its key is {key}: keep it as long as the snapshot."]
    return [
        f"Its key {key} is {found['KeyState']}. Before anything else:",
        f"    aws kms cancel-key-deletion --region {region} --key-id {key}",
        f"    aws kms enable-key --region {region} --key-id {key}",
    ]


def main(environment: str, outputs: str) -> str | None:
    """Print the report where the outputs name a final snapshot; return what went wrong, if anything."""
    found = values(outputs)
    name = found.get("final_snapshot")
    if not name:
        return None
    try:
        rds, kms = (boto3.client(service, region(found)) for service in ("rds", "kms"))
        print(report(environment, rds, kms, name))
    except (BotoCoreError, ClientError) as error:
        return f"{environment} is destroyed, but its final snapshot {name} could not be looked at: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.read()))
