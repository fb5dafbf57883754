"""The tables."""

from django.db import models


class Order(models.Model):
    what = models.TextField()
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
