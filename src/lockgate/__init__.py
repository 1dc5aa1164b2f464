"""lockgate: schema, data and indexes change in production exactly once, or not at all.

Importing this package does nothing: no connection, no migration, no heavy import. That is a promise
(never migrate at application start), kept by a test.
"""

__version__ = "0.1.0"
