"""CloudWatch on this machine: what metrics are kept, and what alarms make of them.

What is pure is here, with a clock passed in; `local/aws/corrections` leads moto's calls to it.
"""
