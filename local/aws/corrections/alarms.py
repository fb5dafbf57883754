"""CloudWatch alarms."""

from __future__ import annotations

from moto.cloudwatch.responses import CloudWatchResponse

from local.aws.moto import Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    composite_alarms_exist(moto)


def composite_alarms_exist(moto: Moto) -> None:
    """PutCompositeAlarm: moto's PutMetricAlarm already reads its AlarmRule."""
    moto.set(CloudWatchResponse, "put_composite_alarm", CloudWatchResponse.put_metric_alarm)
