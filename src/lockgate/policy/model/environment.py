"""The server around the schema, as a snapshot tells it. What is not known is -1, "" or empty, and never judged."""

from msgspec import Struct


class Life(Struct, frozen=True, rename="camel"):
    """How a table is used, and how old its oldest transaction id is."""

    reads_per_second: float = -1
    writes_per_second: float = -1
    # age(relfrozenxid)
    age: int = -1


class Environment(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The ``environment`` of a snapshot."""

    # The role that runs the migrations, the roles it is a member of (itself too), and whether rights bind it.
    role: str = ""
    memberships: tuple[str, ...] = ()
    superuser: bool = False
    # Room left on the disk of the database.
    free_bytes: int = -1
    # Room in the lock table: max_locks_per_transaction times (max_connections + max_prepared_transactions).
    max_locks: int = -1
    # Servers that replay this one's log and answer queries.
    standbys: int = -1
    freeze_max_age: int = 200_000_000
    # pg_available_extensions
    available_extensions: tuple[str, ...] = ()
    tables: dict[str, Life] = {}

    def life(self, key: str) -> Life:
        """What is known of one table."""
        return self.tables.get(key, _NOTHING)


_NOTHING = Life()
UNKNOWN = Environment()
