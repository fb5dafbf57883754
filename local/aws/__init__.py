"""An AWS account in this process: moto answers, with corrections, and hooks lead to what is real."""

import os

# Read by moto while it is imported, so they are set before any module of this room imports it.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # no web page is to read an answer
os.environ.pop("MOTO_ACCOUNT_ID", None)  # it would put every caller into one account
