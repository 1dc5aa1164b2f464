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
    Reason("LEDGER_DRIFT", "A file's bytes differ from its ledger entry.", UNTOUCHED, "A file that was not applied or merged yet: lockgate check --write-ledger. Any other: restore it (git checkout); a new change is a new file.", Exit.FOUND),
    Reason("LEDGER_FORMAT", "The ledger is not valid JSON of schemaVersion 1 and sha256.", UNTOUCHED, "Restore it from version control, or lockgate check --write-ledger", Exit.FOUND),
    Reason("EOL_ONLY", "A file differs from its checksum in line ends only.", UNTOUCHED, "Add `*.sql -text` to .gitattributes and check the file out again.", Exit.FOUND),
    Reason("IMMUTABLE_EDITED", "A file that existed at the base revision was edited, deleted or re-locked.", UNTOUCHED, "Restore it; put the change into a new file.", Exit.FOUND),
    # -- plan -------------------------------------------------------------------------------------
    Reason("CHECKSUM_MISMATCH", "An applied file was edited: its bytes are not those that were applied.", UNTOUCHED, "Restore the file; or lockgate repair --accept-file R --reason TEXT --actor WHO", Exit.REFUSED),
    Reason("OUT_OF_ORDER", "A pending file is older than the newest applied revision.", UNTOUCHED, "Give it a newer revision: lockgate new NAME, and move the SQL there.", Exit.REFUSED),
    Reason("MIGRATION_MISSING", "The database has a revision, older than the newest file, that the files lack.", UNTOUCHED, "Restore the file from version control.", Exit.REFUSED),
    Reason("HISTORY_AHEAD", "The database has newer revisions than these files: this checkout is behind.", UNTOUCHED, "Run the migrations of the newest release; an older image's job is not the one to migrate.", Exit.REFUSED),
    Reason("HISTORY_TAMPERED", "The hash chain of the history is broken: a row was changed, deleted or re-ordered.", UNTOUCHED, "lockgate doctor names the row; compare with the newest artifact before any repair.", Exit.REFUSED),
    Reason("PLAN_STALE", "The database moved since this plan was made, so its permit is void.", UNTOUCHED, "lockgate plan, then ask again.", Exit.REFUSED),
    Reason("CONTRACT_TOO_EARLY", "A contract-phase file is held while a live instance still needs what it removes.", "The files before it are applied; it and the files after it are not.", "Roll the named instances out, or wait until their heartbeats end; then lockgate up", Exit.REFUSED),
    Reason("PENDING", "Migrations are pending.", UNTOUCHED, "lockgate up", Exit.FOUND),
    Reason("SCHEMA_DRIFT", "The live schema is not the one that the history left.", UNTOUCHED, "lockgate verify names the objects; put the change into a migration or undo it, or let it stand: lockgate repair --accept-schema --reason TEXT --actor WHO", Exit.FOUND),
    # -- who may ----------------------------------------------------------------------------------
    Reason("ROLE_REFUSED", "This process runs as an application (LOCKGATE_ROLE=app) and may not change the schema.", UNTOUCHED, "Run the migration job; the application only gates.", Exit.REFUSED),
    Reason("PROTECTED_ENVIRONMENT", "The environment is protected and the command is for unprotected ones only.", UNTOUCHED, "Go forward with a new migration, or through lockgate release.", Exit.REFUSED),
    Reason("APPROVAL_MISSING", "A protected environment has too few approvals of this plan, or only ones that do not count.", UNTOUCHED, "By another person than the one who releases: lockgate approve --env NAME --role ROLE", Exit.REFUSED),
    Reason("APPROVAL_EXPIRED", "The approvals of this plan have expired.", UNTOUCHED, "lockgate approve --env NAME, again", Exit.REFUSED),
    Reason("APPROVAL_STALE", "What was approved is another plan: the files or the database changed since.", UNTOUCHED, "lockgate plan --env NAME shows the plan that would run; then lockgate approve --env NAME", Exit.REFUSED),
    Reason("BACKUP_MISSING", "There is no backup of this database on this server.", UNTOUCHED, "lockgate backup take --env NAME", Exit.REFUSED),
    Reason("BACKUP_STALE", "The newest verified backup is older than the limit, or of another timeline.", UNTOUCHED, "lockgate backup take --env NAME", Exit.REFUSED),
    Reason("BACKUP_UNVERIFIED", "The backup failed, is not whole, was changed, or nobody verified it.", UNTOUCHED, "lockgate backup verify ID names what is wrong; lockgate backup take makes another.", Exit.REFUSED),
    Reason("RESTORE_TARGET_EXISTS", "A backup is restored into a new database only, and this one exists.", UNTOUCHED, "Give another name with --into.", Exit.REFUSED),
    Reason("POLICY_REFUSED", "A pending file holds what the policy does not let pass.", UNTOUCHED, "Change the file as its fix says, or allow the finding with a reason and an end date; lockgate check tells the same without a database.", Exit.REFUSED),
    Reason("EXTENSION_MISSING", "A file needs an extension that this server does not have.", UNTOUCHED, "Install it on the server, or point the URL at one that has it.", Exit.REFUSED),
    Reason("PRIVILEGE", "The role lacks a privilege that the command needs.", UNTOUCHED, "lockgate roles prints the SQL that grants it, in the schemas that [roles] schemas of lockgate.toml lists: add the schema where it is missing there.", Exit.PRIVILEGE),
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
    Reason("MIGRATION_EXECUTION_TIMEOUT", "The migration job did not end in its time.", "See the timeline; the run recorded what is applied.", "lockgate status tells what is applied; where it only needs longer, raise job.timeout; then lockgate up", Exit.FAILED),
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
    Reason("BACKUP_FAILED", "The backup could not be taken.", UNTOUCHED, "Read the named program's words, then lockgate backup take", Exit.FAILED),
    Reason("RESTORE_FAILED", "A backup could not be restored, or what came out differs.", "The source was not touched; the new database is dropped or named.", "lockgate backup verify ID, then restore again", Exit.FAILED),
    Reason("PROGRAM_MISSING", "A program of PostgreSQL that this needs is not here.", UNTOUCHED, "pip install 'lockgate[embedded]', or install the client programs of that version.", Exit.USAGE),
    Reason("COMMAND_FAILED", "A configured command failed or could not be started.", "What the steps before it did stands.", "Mend the command, then lockgate release resume", Exit.FAILED),
    # -- release ----------------------------------------------------------------------------------
    Reason("RELEASE_BUSY", "Another release of this environment is under way.", UNTOUCHED, "Wait for it, or look at the named process; then lockgate release", Exit.BUSY),
    Reason("OUTSIDE_WINDOW", "The plan is too heavy for this hour: no maintenance window is open.", UNTOUCHED, "Wait for the named window; or break the glass: lockgate release --break-glass REASON", Exit.REFUSED),
    Reason("FROZEN", "Nothing is released now: a freeze is declared.", UNTOUCHED, "Wait for its end; or break the glass: lockgate release --break-glass REASON", Exit.REFUSED),
    Reason("CANDIDATE_IMAGE", "An image is missing or not pinned by its sha256 digest.", UNTOUCHED, "Give --image and --rollback-image as NAME@sha256:DIGEST", Exit.REFUSED),
    Reason("CANDIDATE_STALE", "The candidate is older than what is live.", UNTOUCHED, "Release the newest sha; or on purpose: lockgate release replay SHA --reason TEXT", Exit.REFUSED),
    Reason("CANDIDATE_INCOMPATIBLE", "The candidate's image cannot run on the schema that the plan leads to.", UNTOUCHED, "Build the image with the contract of these migrations.", Exit.REFUSED),
    Reason("ROLLBACK_IMAGE_INCOMPATIBLE", "The rollback image could not run on the new schema, so there would be no way back.", UNTOUCHED, "Ship the contract-phase file one release later, or name a newer --rollback-image.", Exit.REFUSED),
    Reason("MIGRATIONS_REQUIRED", "The release says that it needs no migrations, and some are pending.", UNTOUCHED, "Leave --no-migrations out.", Exit.REFUSED),
    Reason("NO_HEADROOM", "The server has too few free connections for a release.", UNTOUCHED, "Free connections, or lower release.min_free_connections.", Exit.REFUSED),
    Reason("DISK_SPACE", "There is too little free disk for the backup or the migration.", UNTOUCHED, "Free space, or name another backup.directory; then lockgate release resume", Exit.REFUSED),
    Reason("CI_RESULT_MISSING", "A result that CI has to leave is missing, failed, or is of another sha.", UNTOUCHED, "Run the named job for this sha.", Exit.REFUSED),
    Reason("REHEARSAL_MISSING", "No rehearsal of this plan passed.", UNTOUCHED, "lockgate rehearse", Exit.REFUSED),
    Reason("PLAN_NOT_STAGED", "This plan did not pass the environment that it has to pass first.", UNTOUCHED, "Release it to the named environment first.", Exit.REFUSED),
    Reason("WORKERS_NOT_STOPPED", "The workers did not stop in time, or nobody can tell.", "Nothing was applied; the workers were resumed.", "Look at the named workers, then lockgate release resume", Exit.FAILED),
    Reason("WORKERS_HELD", "The workers stay stopped: they do not fit the schema, or nobody can tell.", "The workers do not run; somebody has to let them go.", "lockgate release recover", Exit.FAILED),
    Reason("JOB_UNSAFE", "The migration job runs in parallel, is retried, or has another image than the candidate.", UNTOUCHED, "Set parallelism 1, retry limit 0 and the candidate's image, then lockgate release resume", Exit.REFUSED),
    Reason("STEP_TIMEOUT", "A step of the release ran longer than its limit.", "The journal tells which steps are done.", "lockgate release resume", Exit.FAILED),
    Reason("ROLLOUT_FAILED", "The rollout command failed, or the new release never showed up.", "The migrations are applied; the old release may still be live.", "lockgate release recover", Exit.FAILED),
    Reason("API_SMOKE_ASSERTION_FAILED", "The released service answers wrongly.", "The migrations are applied and the release is rolled out.", "Look at assertions[] in api-smoke.json; lockgate release recover", Exit.FAILED),
    Reason("API_SMOKE_RUNTIME_ERROR", "The released service does not answer.", "The migrations are applied and the release is rolled out.", "Look at responses in api-smoke.json; lockgate release recover", Exit.FAILED),
    Reason("WATCH_FAILED", "A watched measurement broke its limit after the rollout.", "The release is rolled out; the workers do not all run.", "lockgate release recover", Exit.FAILED),
    Reason("WATCH_HELD", "The watch could not tell whether the release is well.", "The release is rolled out; the workers do not all run.", "Look at the named queries; then lockgate release resume, or lockgate release recover", Exit.HOLD),
    Reason("NO_RELEASE", "There is no release that this could be done to.", UNTOUCHED, "lockgate release --sha SHA", Exit.USAGE),
    Reason("STATUS_DISAGREES", "The migration job says one thing and the history another.", "The history is the truth.", "lockgate status tells what is applied; look at the job's logs in migration.json, then lockgate release resume", Exit.FAILED),
    Reason("VERIFY_HELD", "After the run a check of the result gave no answer.", "The migrations are applied; the release may not go on.", "Look at checks[] in migration.json and verification.json; lockgate release resume asks again.", Exit.HOLD),
    Reason("UNKNOWN_STATUS", "How a run ended is not known.", "The history tells what is applied.", "lockgate status, then lockgate up", Exit.HOLD),
    Reason("VERIFY_FAILED", "After the run a check of the result failed.", "The migrations are applied; the release may not go on.", "Look at checks[] in migration.json and verification.json; lockgate release recover", Exit.FAILED),
    Reason("ARTIFACT_FAILED", "The artifact could not be written, so the release failed.", "The database holds the truth; the artifact can be rebuilt.", "Make the folder writable, then lockgate release show SHA --rebuild, or lockgate release resume", Exit.FAILED),
    # -- data moves -------------------------------------------------------------------------------
    Reason("TABLE_MISSING", "A table that was named is not there.", UNTOUCHED, "Check the name; --table takes SCHEMA.NAME, and quotes as SQL does.", Exit.USAGE),
    Reason("COLUMN_MISSING", "A column that was named is not there.", UNTOUCHED, "Name one of the table's columns.", Exit.USAGE),
    Reason("KEY_MISSING", "Nothing says which columns identify a row: there is no primary key on both sides.", UNTOUCHED, "Name the columns: --key a,b", Exit.USAGE),
    Reason("KEY_NOT_UNIQUE", "The key has NULLs or values that occur twice, so rows cannot be told apart.", UNTOUCHED, "Name other columns: --key a,b", Exit.USAGE),
    Reason("COLUMNS_DIFFER", "The two tables do not have the same columns, so they are not equal.", UNTOUCHED, "Compare what both have: --columns a,b", Exit.FOUND),
    Reason("TYPES_DIFFER", "Columns of one name have types whose values cannot be compared.", UNTOUCHED, "Leave them out: --columns a,b; or give both sides one type.", Exit.FOUND),
    Reason("ROWS_DIFFER", "The two tables have different rows.", UNTOUCHED, "Look at differing[]; lockgate move verify again once they are mended.", Exit.FOUND),
    Reason("MOVE_DECLARATION", "The declaration of a move is missing or wrong.", UNTOUCHED, "Mend the named key of moves/<name>.toml.", Exit.USAGE),
    Reason("MOVE_REFUSED", "The plan of a move found what it could not do safely.", UNTOUCHED, "Look at problems[]: each names its fix; then lockgate move plan NAME", Exit.REFUSED),
    Reason("MOVE_UNKNOWN", "There is no such move in this database.", UNTOUCHED, "lockgate move start NAME", Exit.USAGE),
    Reason("MOVE_STAGE", "The move is in a stage from which this step is not allowed.", UNTOUCHED, "lockgate move status NAME", Exit.REFUSED),
    Reason("MOVE_CHANGED", "The declaration is not the one that the move was started with.", UNTOUCHED, "Restore the file; or lockgate move abort NAME and start anew.", Exit.REFUSED),
    Reason("MOVE_TRANSFORM", "A Python function that makes columns of a move cannot be loaded, or is not of the declared version.", UNTOUCHED, "Deploy the code that the declaration names; two versions must not make rows of one move.", Exit.REFUSED),
    Reason("MOVE_PAUSED", "The move is paused: something changed that it cannot go on with.", "Capture goes on; the source serves.", "Mend what the message names, then lockgate move run NAME --resume", Exit.HOLD),
    Reason("MOVE_BUSY", "Another process works on this move.", UNTOUCHED, "Try again when it is done; lockgate move status NAME", Exit.BUSY),
    Reason("MOVE_DIVERGED", "Source and target differ in rows that no write in flight explains.", "The source serves; nothing was switched.", "Look at differing[]; lockgate move verify NAME --repair copies them again.", Exit.FOUND),
    Reason("MOVE_INCOMPLETE", "The ledger of the move has ranges that are not copied.", "The source serves; what is copied stays.", "lockgate move backfill NAME", Exit.FOUND),
    Reason("MOVE_REPLICA", "The replica that a move reads from is none of the source, or too far behind.", "What is copied stays; the source serves.", "Wait for the replica and call the command again; or take replica_env out of [source] and read from the primary.", Exit.HOLD),
    Reason("MOVE_THROTTLED", "The backfill of a move waits: a server is pressed beyond its limits, or how much cannot be read.", "What is copied stays; capture goes on; the source serves.", "Look at the named figure; once it is below its limit, call the command again: it goes on where it stopped.", Exit.BUSY),
    Reason("MOVE_DANGLING", "Rows of a move's target point at rows that are not there.", "The side that serves goes on serving; what is copied stays.", "Look at dangling[]: bring what is missing, or mend the rows, then call it again.", Exit.FOUND),
    Reason("MOVE_QUARANTINE", "The target refused rows; they stand in quarantine with the reason.", "The source serves; the other rows are copied.", "Mend the rows or the target, then lockgate move backfill NAME --retry", Exit.FOUND),
    Reason("MOVE_LOCK", "The tables could not be locked within the time that the declaration allows, or the work under the lock took too long.", "Nothing was switched; the same side serves as before.", "End or wait for the named blockers, then call it again.", Exit.BUSY),
    Reason("MOVE_WINDOW", "The way back is still open.", "The target serves; the old side is kept current.", "Wait until the named time, or lockgate move finish NAME --now", Exit.REFUSED),
    Reason("MOVE_FROZEN", "A statement changes a table that is being moved.", UNTOUCHED, "Finish or abort the move first: lockgate move status", Exit.REFUSED),
    Reason("MOVE_WAITED_FOR", "A file waits for a move that is not reconciled.", UNTOUCHED, "lockgate move run NAME, with the name of the move; then lockgate up", Exit.REFUSED),
    Reason("MOVE_QUERY_FAILED", "A query of a data move failed on the server.", "Nothing was changed by it.", "Mend what the message names, then call the command again.", Exit.FAILED),
    # -- indexes ----------------------------------------------------------------------------------
    Reason("GOLD_SET", "A gold set cannot be read, or its ids do not join.", UNTOUCHED, "Mend the named line; lockgate gold lint DIR checks the whole set.", Exit.USAGE),
    Reason("INDEX_SPEC", "The specification of an index contradicts itself, or the store cannot follow it.", UNTOUCHED, "Mend the named field.", Exit.USAGE),
    Reason("INDEX_RECORD", "A record or a vector does not fit the index: no vector, another dimension, a number that is none.", "Batches before it are written; the generation is not sealed and serves nobody.", "Mend the record, then lockgate index build NAME again: it goes on where it stopped.", Exit.FAILED),
    Reason("INDEX_EXISTS", "A generation of this name exists with another specification.", UNTOUCHED, "Give the new one another name: --generation", Exit.REFUSED),
    Reason("INDEX_UNKNOWN", "There is no index, or no generation, of this name.", UNTOUCHED, "lockgate index list", Exit.USAGE),
    Reason("INDEX_ALIAS", "A destructive call named an alias, or what an alias points to.", UNTOUCHED, "Name a generation that does not serve; lockgate index list", Exit.REFUSED),
    Reason("INDEX_MOVED", "The alias does not point to what was expected: somebody else swapped it.", UNTOUCHED, "lockgate index list, then decide anew.", Exit.BUSY),
    Reason("INDEX_NOT_READY", "The generation is not sealed, was not validated, or its rollback is over.", UNTOUCHED, "lockgate index build NAME, then lockgate index validate NAME --against SERVING --gold DIR", Exit.REFUSED),
    Reason("INDEX_CHANGED", "A generation is not what was sealed: records went, came or changed since, and nobody compared it as it is now.", UNTOUCHED, "lockgate index list NAME shows what each generation holds. Build it anew; in an emergency lockgate index rollback NAME --changed goes back all the same.", Exit.REFUSED),
    Reason("INDEX_STORE", "A store of an index does not answer as it should.", "The alias points where it did.", "Look at the named store, then try again.", Exit.FAILED),
    Reason("INDEX_SWAP_TWO_STEP", "The store cannot swap in one step, so a reader could see neither generation.", UNTOUCHED, "Swap while nobody reads, with --two-step.", Exit.HOLD),
    Reason("EMBEDDER_FAILED", "The embedder does not answer, also after the retries.", "What was embedded is kept; the generation is not sealed and serves nobody.", "lockgate index build NAME again: it goes on where it stopped.", Exit.UNREACHABLE),
    Reason("INDEX_DRIFT", "Retrieval got worse, or the index is not what its manifest says.", UNTOUCHED, "Look at causes[] and worst[]; mend the build, then measure again. The old generation goes on serving.", Exit.FOUND),
    Reason("INDEX_HELD", "It cannot be told whether retrieval got worse: too few queries, a noisy baseline, or a figure between its limits.", UNTOUCHED, "Look at the checks that hold; enlarge the gold set, or let a person decide.", Exit.HOLD),
    Reason("INDEX_WATCH_ABORTED", "After a swap, retrieval was worse than the sources' conditions allow; the alias went back by itself.", "The generation from before the swap serves again.", "Look at the reason and at the looks in lockgate.index_event; mend the build, then build, validate and swap anew.", Exit.FOUND),
    Reason("INDEX_WATCH_HELD", "The watch after a swap cannot tell: somebody else moved the alias, the drift is between its limits, or the generation before is not what was sealed.", "The alias points where it did.", "lockgate index watch NAME goes on; lockgate index rollback NAME goes back.", Exit.HOLD),
    Reason("INDEX_SHADOW", "The new generation answers the shadow queries more slowly than it may, or leaves some without an answer.", "The old generation goes on serving.", "Tune graph and breadth of the search, then release again.", Exit.FAILED),
    Reason("RUN_FILE", "A run file cannot be read, or does not join with the gold set.", UNTOUCHED, "Mend the named line, or give the gold set that the run is of.", Exit.USAGE),
    # -- rehearsal --------------------------------------------------------------------------------
    Reason("POLICY_FAILED", "The policy found an error in a file that was rehearsed.", UNTOUCHED, "lockgate check tells each finding and its fix.", Exit.FOUND),
    Reason("QUERIES_BREAK", "A query of a release that stays alive worked before a migration and fails after it.", UNTOUCHED, "Split the change into expand and contract (lockgate new --recipe); the report names query and migration.", Exit.FOUND),
    Reason("DATA_DEPENDENT", "A migration fails on the made-up rows of a rehearsal and was applied without them; whether it fails on real ones cannot be told.", UNTOUCHED, "Count in production the rows that it would refuse; where there are none: lockgate rehearse --rows 0, which proves the files without made-up rows", Exit.HOLD),
    Reason("DOWN_FAILED", "A down section failed, or did not bring back the schema before its file.", UNTOUCHED, "Mend the down section, then lockgate rehearse", Exit.FOUND),
    Reason("REHEARSAL_FAILED", "A rehearsal found that the files do not do what they must: the check tells which.", UNTOUCHED, "Look at checks[] in rehearsal.json.", Exit.FOUND),
    Reason("REHEARSAL_HELD", "A rehearsal could not tell: a query never worked, or not every file could be applied.", UNTOUCHED, "Mend what checks[] in rehearsal.json names; what depends on the rows of production: lockgate snapshot, then lockgate rehearse --snapshot FILE", Exit.HOLD),
    Reason("ESTIMATE_EXCEEDED", "A file's own estimate of seconds or rows is below what its rehearsal expects at production size.", UNTOUCHED, "Mend the `-- lockgate: estimate` line, or the file.", Exit.FOUND),
    Reason("LOAD_STUCK", "pgbench did not end after the files were applied under load; it was killed, and nothing of it is left.", UNTOUCHED, "Shorten the transactions of the scripts of --load pgbench:FILE, or leave --load out.", Exit.HOLD),
    Reason("REHEARSAL_STALE", "The rehearsal of this plan is too old, or was made on another major version of PostgreSQL.", UNTOUCHED, "lockgate rehearse again, with --server-version where it has to be another", Exit.REFUSED),
    Reason("SCRATCH_REFUSED", "The database that was given for scratch holds something, or is a target of this project.", UNTOUCHED, "Give an empty database that nobody needs: createdb scratch", Exit.REFUSED),
    # -- usage ------------------------------------------------------------------------------------
    Reason("USAGE", "The call is wrong.", UNTOUCHED, "lockgate COMMAND --help", Exit.USAGE),
    Reason("CONFIG", "lockgate.toml or an environment variable is wrong.", UNTOUCHED, "Mend the named key.", Exit.USAGE),
    Reason("CONTRACT", "The contract of an image is missing or wrong.", UNTOUCHED, "Mend the named field; docs/gate.md shows a whole contract.", Exit.USAGE),
    Reason("SECRETS", "A secret is missing, empty, late, or holds an unresolved template mark.", UNTOUCHED, "Mend the named secret.", Exit.USAGE),
    Reason("SECRETS_ROTATION", "The accepted revisions of secrets cannot become what was asked for.", UNTOUCHED, "lockgate gate secrets list; a rotation accepts the next one, then retires the old one.", Exit.REFUSED),
    Reason("HOME_OLDER", "The schema lockgate of this database is missing, or older than the command needs.", UNTOUCHED, "lockgate up", Exit.REFUSED),
    Reason("GATE_CLOSED", "The contract of an image is not satisfied by the environment.", UNTOUCHED, "lockgate gate --contract FILE names the conditions.", Exit.FOUND),
    Reason("READ_ONLY_MODE", "Services refuse writes: read-only mode is on.", UNTOUCHED, "Try again after Retry-After; lockgate readonly status tells why.", Exit.BUSY),
    Reason("SCHEMA_SIGNATURE", "Services refuse writes: the live schema is not the one that they were built for, or nobody could tell yet.", UNTOUCHED, "lockgate gate signature --against FILE, or lockgate verify, names every object that differs.", Exit.FOUND),
    Reason("INTENT_FAILED", "A queued write could not be done; it and what is queued behind it under its key wait for a person.", "The other keys are drained; what failed was rolled back whole.", "lockgate readonly intents names it; mend the cause, then lockgate readonly drain; or lockgate readonly discard ID --reason TEXT", Exit.FAILED),
    Reason("IDEMPOTENCY_KEY_REUSED", "A write bears the idempotency key of another write.", UNTOUCHED, "Send it with a key of its own.", Exit.USAGE),
    Reason("PROBE_DOWN", "A declared probe gives no, or no answer.", UNTOUCHED, "Look at what the named probe asks.", Exit.UNREACHABLE),
    Reason("REGION_UNREACHABLE", "A region cannot be reached, so it cannot be told whether all are equal.", UNTOUCHED, "lockgate parity --env NAME when it is back.", Exit.UNREACHABLE),
    Reason("PARITY_MISMATCH", "The regions of an environment are not equal.", UNTOUCHED, "lockgate parity --env NAME names what differs.", Exit.FOUND),
    Reason("BOOTSTRAP_FAILED", "A step of bootstrap failed.", "The steps before it are done and journalled; nothing after it was tried.", "Mend what is named, then lockgate bootstrap again: it goes on there.", Exit.FAILED),
    Reason("BOOTSTRAP_STALLED", "A step of bootstrap did not end within its deadline.", "The steps before it are done and journalled; nothing after it was tried.", "Look at what it waits for, then lockgate bootstrap again.", Exit.FAILED),
    Reason("EMBEDDED", "The embedded PostgreSQL could not be started.", UNTOUCHED, "Read the named log; or give --database-url.", Exit.UNREACHABLE),
    Reason("BUG", "lockgate itself is wrong.", "Unknown; the history in the database is right.", "Report it with the trace; lockgate status", Exit.BUG),
)
# fmt: on

REASONS: dict[str, Reason] = {row.code: row for row in _ROWS}
"""Every reason code by its name, in the order of the documentation."""


def reason(code: str) -> Reason:
    """The row of ``code``. Raises ``KeyError`` for a code that is not in the table: that is a bug."""
    return REASONS[code]
