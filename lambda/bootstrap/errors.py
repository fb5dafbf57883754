"""What can go wrong, as `terraform apply` will print it.

BootstrapError
├── EventError      the event is neither an action nor a rotation step
├── SettingsError   an environment variable is missing or malformed; it is named
├── SecretError     a secret's value is no {"username": …, "password": …}
├── RoleError       a role or schema stands in the way that this function did not make; nothing was changed
│   └── SchemaTakenError    the schema is somebody else's, and could be adopted
├── HistoryError    the files do not continue the recorded history, or migrate.py cannot list its own; nothing was run
├── MigrationError  a statement failed; names file and line, or the revision; it was rolled back
├── LoginError      a user cannot log in with the password of its secret
└── RotationError   the rotation step does not fit the secret's state
"""


class BootstrapError(Exception):
    """The base of every error that this function raises itself."""


class EventError(BootstrapError):
    """The event is neither an action nor a rotation step."""


class SettingsError(BootstrapError):
    """An environment variable is missing or malformed."""


class SecretError(BootstrapError):
    """A secret's value is not a user name and a password."""


class RoleError(BootstrapError):
    """A role or a schema exists that this function did not make."""


class SchemaTakenError(RoleError):
    """The schema is somebody else's and is not to be adopted."""


class HistoryError(BootstrapError):
    """The migration files do not continue what the database has recorded."""


class MigrationError(BootstrapError):
    """A statement of a migration failed."""


class LoginError(BootstrapError):
    """A user cannot log in with the password of its secret."""


class RotationError(BootstrapError):
    """The rotation step does not fit the secret's state."""
