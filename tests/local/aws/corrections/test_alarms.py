"""local/aws/corrections/alarms.py: as AWS documents it, where stock moto does not yet."""


def test_composite_alarm_exists(aws):
    aws.cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(one) AND ALARM(two)")
    found = aws.cloudwatch.describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert [alarm["AlarmRule"] for alarm in found] == ["ALARM(one) AND ALARM(two)"]
