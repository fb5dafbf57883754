"""Policies for checkov, where its own are blind: checkov --external-checks-dir policies --directory YOUR_CODE.

checkov loads the Python files of this folder one by one, and only because this file is here.
"""
