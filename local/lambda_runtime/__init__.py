"""Lambda on this machine: functions in processes of their own, fed by a Runtime API."""
