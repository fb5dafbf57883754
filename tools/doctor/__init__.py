"""Say layer by layer what is wrong with an environment, and how to mend it: python -m tools.doctor ROOT TERRAFORM.

A layer's check asks AWS, or the two functions what they see from inside the VPC, and answers with a Finding. Checks run
at once; findings that follow from another layer's are told apart afterwards, so that what is broken is named first.
Nothing is changed.
"""
