"""The one table of reason codes: what it means, the state of the world, the next command, the exit code.

``docs/reasons.md`` is generated from this table and a test keeps every code in use.
"""

from enum import IntEnum
from typing import NamedTuple


class Exit(IntEnum):
    """Exit codes of the command line. They stay clear of 64-68 (sysexits) and of 124 upwards (shells)."""

    OK = 0
    FOUND = 1
    USAGE = 2
    FAILED = 3
    REFUSED = 4
    HOLD = 5
    UNREACHABLE = 69
    BUG = 70
    BUSY = 75
    PRIVILEGE = 77
    INTERRUPTED = 130
    TERMINATED = 143


class Reason(NamedTuple):
    """One reason code.

    ``state`` says what the world looks like when the code is given, ``next`` the command or act that follows.
    """

    code: str
    meaning: str
    state: str
    next: str
    exit: Exit


UNTOUCHED = "Nothing was changed."
ROLLED_BACK = "The failing file was rolled back whole; the files before it stay applied."

# One row a line: it is a table.
# fmt: off
_ROWS: tuple[Reason, ...] = (
    # -- files and ledger -------------------------------------------------------------------------
    Reason("FILE_NAME", "A file name is not <13 digits>_<a-z0-9_>.sql.", UNTOUCHED, "Rename it; `lockgate new NAME` makes a right one.", Exit.FOUND),
    Reason("FILE_TYPE", "Something in the migrations directory is not a regular .sql file.", UNTOUCHED, "Move it out of the directory.", Exit.FOUND),
    Reason("FILE_SYMLINK", "A migration is a symbolic link, so its content could change unseen.", UNTOUCHED, "Put the file itself in its place.", Exit.FOUND),
    Reason("FILE_PERMISSIONS", "A migration is writable by everybody or cannot be read.", UNTOUCHED, "chmod 644 the file.", Exit.FOUND),
    Reason("FILE_BOM", "A file starts with a byte order mark, or is UTF-16.", UNTOUCHED, "Save it as UTF-8 without BOM.", Exit.FOUND),
    Reason("FILE_NUL", "A file holds a NUL byte; the server would silently stop reading there.", UNTOUCHED, "Remove the byte.", Exit.FOUND),
    Reason("FILE_ENCODING", "A file is not valid UTF-8.", UNTOUCHED, "Save it as UTF-8.", Exit.FOUND),
    Reason("FILE_EMPTY", "A file holds no statement.", UNTOUCHED, "Write the statement or delete the file.", Exit.FOUND),
    Reason("FILE_SIZE", "A file or a statement is larger than the limits of lockgate.toml.", UNTOUCHED, "Split it; data belongs in a move.", Exit.FOUND),
    Reason("FILE_SYNTAX", "A file is not SQL that PostgreSQL's own grammar accepts.", UNTOUCHED, "Mend the statement at the given line.", Exit.FOUND),
    Reason("FILE_DIRECTIVE", "A `-- lockgate:` directive is unknown, doubled or malformed.", UNTOUCHED, "Mend the directive; docs/files.md lists them.", Exit.FOUND),
    Reason("FILE_TRANSACTION_CONTROL", "A file begins, commits or rolls back a transaction itself, or prepares one.", UNTOUCHED, "Remove it: lockgate opens and commits the transaction.", Exit.FOUND),
    Reason("FILE_META_COMMAND", "A file holds a psql meta-command such as \\restrict, \\i or \\copy.", UNTOUCHED, "Write plain SQL; strip pg_dump's headers.", Exit.FOUND),
    Reason("FILE_COPY_STDIN", "A file holds COPY ... FROM STDIN.", UNTOUCHED, "Use INSERT for a few rows; data belongs in a move.", Exit.FOUND),
    Reason("FILE_SESSION_STATE", "A file changes the session under lockgate: role, replication role, DISCARD, advisory unlock.", UNTOUCHED, "Remove the statement; use SET LOCAL for settings.", Exit.FOUND),
    Reason("FILE_NEEDS_TRANSACTION_OFF", "A statement cannot run inside a transaction, and the file does not say transaction=off.", UNTOUCHED, "Move it to a file of its own with `-- lockgate: transaction=off`.", Exit.FOUND),
    Reason("FILE_FORBIDDEN", "A statement works outside this database or with the server's own files (CREATE DATABASE, ALTER SYSTEM, COPY PROGRAM, LANGUAGE C, pg_terminate_backend ...).", UNTOUCHED, "Take it out of the migrations; provisioning is not a migration.", Exit.FOUND),
    Reason("FILE_IDENTIFIER", "A name is longer than 63 bytes (the server would cut it) or not in Unicode NFC (it would be another name).", UNTOUCHED, "Shorten or normalise the name.", Exit.FOUND),
    Reason("FILE_ENUM_USE", "A value is added to an enum and used in the same transaction.", UNTOUCHED, "Add the value in a file of its own, before its use.", Exit.FOUND),
    Reason("NO_FILES", "The migrations directory is missing or holds no migration.", UNTOUCHED, "lockgate init, then lockgate new NAME", Exit.FOUND),
    Reason("DUPLICATE_REVISION", "Two files share one revision, or the database knows it with other content.", UNTOUCHED, "Give the newer file a newer revision: lockgate new NAME", Exit.FOUND),
    Reason("LEDGER_MISSING", "A file is not in the ledger, or the ledger is missing.", UNTOUCHED, "lockgate check --write-ledger", Exit.FOUND),
    Reason("LEDGER_STALE", "The ledger names a file that is not there.", UNTOUCHED, "Restore the file, or lockgate check --write-ledger", Exit.FOUND),
    Reason("LEDGER_DRIFT", "A file's bytes differ from its ledger entry.", UNTOUCHED, "Restore the file (git checkout); a new change is a new file.", Exit.FOUND),
    Reason("LEDGER_FORMAT", "The ledger is not valid JSON of schemaVersion 1 and sha256.", UNTOUCHED, "Restore it from version control, or lockgate check --write-ledger", Exit.FOUND),
    Reason("EOL_ONLY", "A file differs from its checksum in line ends only.", UNTOUCHED, "Add `*.sql -text` to .gitattributes and check the file out again.", Exit.FOUND),
    Reason("IMMUTABLE_EDITED", "A file that existed at the base revision was edited, deleted or re-locked.", UNTOUCHED, "Restore it; put the change into a new file.", Exit.FOUND),
    # -- plan -------------------------------------------------------------------------------------
    Reason("CHECKSUM_MISMATCH", "An applied file was edited: its bytes are not those that were applied.", UNTOUCHED, "Restore the file; or lockgate repair --accept-file R --reason ... --actor ...", Exit.REFUSED),
    Reason("OUT_OF_ORDER", "A pending file is older than the newest applied revision.", UNTOUCHED, "Give it a newer revision: lockgate new NAME, and move the SQL there.", Exit.REFUSED),
    Reason("MIGRATION_MISSING", "The database has a revision, older than the newest file, that the files lack.", UNTOUCHED, "Restore the file from version control.", Exit.REFUSED),
    Reason("HISTORY_AHEAD", "The database has newer revisions than these files: this checkout is behind.", UNTOUCHED, "Run the migrations of the newest release; an older image's job is not the one to migrate.", Exit.REFUSED),
    Reason("HISTORY_TAMPERED", "The hash chain of the history is broken: a row was changed, deleted or re-ordered.", UNTOUCHED, "lockgate doctor names the row; compare with the newest artifact before any repair.", Exit.REFUSED),
    Reason("PLAN_STALE", "The database moved since this plan was made, so its permit is void.", UNTOUCHED, "lockgate plan, then ask again.", Exit.REFUSED),
    Reason("CONTRACT_TOO_EARLY", "A contract-phase file is held while a live instance still needs what it removes.", "The files before it are applied; it and the files after it are not.", "Roll the named instances out, or wait until their heartbeats end; then lockgate up", Exit.REFUSED),
    Reason("PENDING", "Migrations are pending.", UNTOUCHED, "lockgate up", Exit.FOUND),
    Reason("SCHEMA_DRIFT", "The live schema is not the one that the history left.", UNTOUCHED, "lockgate verify names the objects; put the change into a migration or undo it.", Exit.FOUND),
    # -- who may ----------------------------------------------------------------------------------
    Reason("ROLE_REFUSED", "This process runs as an application (LOCKGATE_ROLE=app) and may not change the schema.", UNTOUCHED, "Run the migration job; the application only gates.", Exit.REFUSED),
    Reason("PROTECTED_ENVIRONMENT", "The environment is protected and the command is for unprotected ones only.", UNTOUCHED, "Go forward with a new migration, or through lockgate release.", Exit.REFUSED),
    Reason("APPROVAL_MISSING", "A protected environment has no approval of this plan.", UNTOUCHED, "Approvals cannot be given to this version of lockgate; until they can, only unprotected environments are migrated.", Exit.REFUSED),
    Reason("EXTENSION_MISSING", "A file needs an extension that this server does not have.", UNTOUCHED, "Install it on the server, or point the URL at one that has it.", Exit.REFUSED),
    Reason("PRIVILEGE", "The role lacks a privilege that the command needs.", UNTOUCHED, "lockgate roles prints the SQL that grants it.", Exit.PRIVILEGE),
    # -- taking over ------------------------------------------------------------------------------
    Reason("LOCK_BUSY", "Another runner holds the migration lock.", UNTOUCHED, "Wait for it, or look at the named process; then lockgate up", Exit.BUSY),
    Reason("POOLED_CONNECTION", "The connection goes through a transaction pooler, where session locks do not hold.", UNTOUCHED, "Point the URL at PostgreSQL itself, not at the pooler.", Exit.REFUSED),
    Reason("READ_ONLY_TARGET", "The server is a standby or read-only.", UNTOUCHED, "Point the URL at the primary.", Exit.REFUSED),
    Reason("SETTING_REFUSED", "A session setting read back from the server is not the one that was set.", UNTOUCHED, "Look for a proxy between lockgate and PostgreSQL that drops SET.", Exit.REFUSED),
    Reason("FORMAT_NEWER", "The schema lockgate in this database is of a newer format than this lockgate knows.", UNTOUCHED, "Upgrade lockgate.", Exit.REFUSED),
    Reason("FENCED", "A newer runner took over; this one may not write any more.", ROLLED_BACK, "lockgate status; the newer run tells how it ended.", Exit.FAILED),
    Reason("LOCK_LOST", "The session lost its migration lock while it ran.", ROLLED_BACK, "lockgate doctor, then lockgate up", Exit.FAILED),
    Reason("SESSION_LEAK", "A file left the session in another role or transaction state.", ROLLED_BACK, "Take the statement out of the file, then lockgate up", Exit.FAILED),
    # -- applying ---------------------------------------------------------------------------------
    Reason("MIGRATION_EXECUTION_FAILED", "A statement failed on the server.", ROLLED_BACK, "Mend the file (it is not applied), then lockgate up", Exit.FAILED),
    Reason("MIGRATION_EXECUTION_TIMEOUT", "The migration job did not end in its time.", "See the timeline; the run recorded what is applied.", "lockgate status, then lockgate up", Exit.FAILED),
    Reason("MIGRATION_EXECUTION_QUERY_ERROR", "The state of the migration job could not be read.", "Unknown until the history is read.", "lockgate status", Exit.HOLD),
    Reason("LOCK_TIMEOUT", "A lock was not granted in lock_timeout, also after the retries.", ROLLED_BACK, "End or wait for the named blockers, then lockgate up", Exit.FAILED),
    Reason("LOCK_VICTIMS", "Too many sessions queued behind our statement, so it was cancelled.", ROLLED_BACK, "Run at a quieter time, or end the named blockers; then lockgate up", Exit.FAILED),
    Reason("STATEMENT_TIMEOUT", "A statement ran longer than statement_timeout.", ROLLED_BACK, "Raise it for this file: -- lockgate: statement_timeout=...; then lockgate up", Exit.FAILED),
    Reason("FILE_TIMEOUT", "A file ran longer than its time limit.", ROLLED_BACK, "Split the file or raise migrations.file_timeout; then lockgate up", Exit.FAILED),
    Reason("RUN_TIMEOUT", "The whole run ran longer than its time limit (MIGRATION_TIMEOUT_SECONDS).", ROLLED_BACK, "Raise the limit, then lockgate up: it goes on where it stopped.", Exit.FAILED),
    Reason("DEADLOCK", "The server broke a deadlock or serialization conflict at our cost, also after the retries.", ROLLED_BACK, "lockgate up at a quieter time", Exit.FAILED),
    Reason("DISK_FULL", "The server ran out of disk.", ROLLED_BACK, "Free space, lockgate doctor for leftovers, then lockgate up", Exit.FAILED),
    Reason("OUT_OF_MEMORY", "The server ran out of memory or of lock slots.", ROLLED_BACK, "Raise max_locks_per_transaction or split the file; then lockgate up", Exit.FAILED),
    Reason("CONNECTION_LOST", "The connection was lost and the server did not come back in time.", "The file in flight is applied or not, never half; the next run reads which.", "lockgate status when the server is back, then lockgate up", Exit.UNREACHABLE),
    Reason("COMMITTED_AFTER_DISCONNECT", "The acknowledgement of COMMIT was lost, and the server says: committed.", "The file is applied.", "Nothing to do.", Exit.OK),
    Reason("IN_DOUBT", "It cannot be told whether a commit took place.", "One file is applied or not; nothing was done after it.", "lockgate status when the old session is gone; then lockgate up", Exit.HOLD),
    Reason("PARTIAL", "A non-transactional file stopped half way and cannot go on by itself.", "The journal (lockgate status --steps) tells which statements are done.", "Mend what is named, then lockgate up: it resumes at the right statement.", Exit.FAILED),
    Reason("INVALID_INDEX", "An invalid or half-built index is in the way and is not ours to drop.", "The index costs writes and answers nothing.", "DROP INDEX CONCURRENTLY it (lockgate doctor prints the statement), then lockgate up", Exit.FAILED),
    Reason("INDEX_DEFINITION_DIFFERS", "An index of that name exists with another definition.", "The existing index was left as it is.", "Rename or drop it, then lockgate up", Exit.FAILED),
    Reason("CANCELLED", "The run was interrupted.", ROLLED_BACK, "lockgate up: it goes on where it stopped.", Exit.TERMINATED),
    Reason("UNREACHABLE", "The database cannot be reached.", UNTOUCHED, "Check the URL and the server, then try again.", Exit.UNREACHABLE),
    Reason("TOO_MANY_CONNECTIONS", "The server has no connection left, or is still starting, also after the retries.", UNTOUCHED, "Free connections, then try again.", Exit.UNREACHABLE),
    # -- release ----------------------------------------------------------------------------------
    Reason("STATUS_DISAGREES", "The migration job says one thing and the history another.", "The history is the truth.", "lockgate status", Exit.FAILED),
    Reason("VERIFY_HELD", "After the run a check of the result gave no answer.", "The migrations are applied; the release may not go on.", "Look at checks[] in migration.json; lockgate verify asks again.", Exit.HOLD),
    Reason("UNKNOWN_STATUS", "How a run ended is not known.", "The history tells what is applied.", "lockgate status, then lockgate up", Exit.HOLD),
    Reason("VERIFY_FAILED", "After the run a check of the result failed.", "The migrations are applied; the release may not go on.", "Look at checks[] in migration.json.", Exit.FAILED),
    Reason("ARTIFACT_FAILED", "The artifact could not be written, so the release failed.", "The database holds the truth; the artifact can be rebuilt.", "Make the folder writable, then lockgate release again, or lockgate release show SHA --rebuild", Exit.FAILED),
    # -- usage ------------------------------------------------------------------------------------
    Reason("USAGE", "The call is wrong.", UNTOUCHED, "lockgate COMMAND --help", Exit.USAGE),
    Reason("CONFIG", "lockgate.toml or an environment variable is wrong.", UNTOUCHED, "Mend the named key.", Exit.USAGE),
    Reason("EMBEDDED", "The embedded PostgreSQL could not be started.", UNTOUCHED, "Read the named log; or give --database-url.", Exit.UNREACHABLE),
    Reason("BUG", "lockgate itself is wrong.", "Unknown; the history in the database is right.", "Report it with the trace; lockgate status", Exit.BUG),
)
# fmt: on

REASONS: dict[str, Reason] = {row.code: row for row in _ROWS}
"""Every reason code by its name, in the order of the documentation."""


def reason(code: str) -> Reason:
    """The row of ``code``. Raises ``KeyError`` for a code that is not in the table: that is a bug."""
    return REASONS[code]
