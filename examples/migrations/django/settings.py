"""The project's settings: with no DATABASES, since migrate.py brings the connection."""

INSTALLED_APPS = ["django.contrib.contenttypes", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
