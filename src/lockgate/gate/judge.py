"""The verdict of a gate: a pure function of what the image asks for and what was seen."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lockgate.gate.contract import Contract
from lockgate.gate.report import FAIL, PASS, UNKNOWN, Answer, Condition, Report


class Own(NamedTuple):
    """What the process itself brings: the revision of the secrets it has ("" when it has none to show), and the
    ``index_hash`` of every index that it has really loaded."""

    secrets_revision: str = ""
    index_hashes: Mapping[str, str] = {}


class Sight(NamedTuple):
    """What the database said, as ``postgres.gate.Seen``: ``kind`` is ``seen``, ``absent``, ``unreachable`` or ``doubt``."""

    kind: str
    state: Mapping[str, object] = {}
    why: str = ""
    next: str = ""


def judge(
    contract: Contract,
    sight: Sight,
    probes: "tuple[Condition, ...]" = (),
    own: Own = Own(),  # noqa: B008 - an immutable value
    *,
    starting: bool = True,
) -> Report:
    """The report. A service that is ``starting`` waits for a run in progress; one that serves stays ready inside its window."""
    conditions = [*_of_database(contract, sight, own, starting), *probes]
    return Report(
        tuple(conditions), warnings=(*contract.warnings, *_warnings(sight)), observed=dict(sight.state)
    )


def _of_database(contract: Contract, sight: Sight, own: Own, starting: bool) -> "list[Condition]":
    if sight.kind == "absent":
        schema = Condition(
            "schema:revision",
            FAIL,
            Answer.BEHIND,
            f"{sight.why}: nothing was ever applied here",
            "lockgate up",
        )
        return [
            schema,
            *_declared(contract, lambda name: _doubt(name, sight, "it stands in the schema lockgate")),
        ]
    if sight.kind != "seen":
        unreachable = sight.kind == "unreachable"

        def unknown(name: str) -> Condition:
            return Condition(name, UNKNOWN, Answer.UNKNOWN, sight.why, sight.next, unreachable=unreachable)

        return [unknown("schema:revision"), *_declared(contract, unknown)]
    state = sight.state
    try:
        return [
            *_run(contract, state, starting),
            _revision(contract, state, starting),
            *_digest(contract, state),
            *_secrets(state, own),
            *_indexes(contract, state, own),
            *_moves(contract, state),
            *_registered(state, starting),
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"lockgate.gate_v1 gave what this gate does not understand ({type(error).__name__}: {error})"
        return [Condition("schema:revision", UNKNOWN, Answer.UNKNOWN, why, "Upgrade lockgate in this image.")]


def _declared(contract: Contract, make: Callable[[str], Condition]) -> "list[Condition]":
    ids = ["schema:digest"] if contract.digest else []
    ids += [f"index:{name}" for name in contract.indexes] + [f"move:{name}" for name in contract.moves]
    return [make(name) for name in ids]


def _doubt(name: str, sight: Sight, why: str) -> Condition:
    code = {
        "schema": Answer.BEHIND,
        "index": Answer.INDEX_MISMATCH,
        "move": Answer.MOVE_NOT_READY,
    }[name.partition(":")[0]]
    return Condition(name, FAIL, code, f"declared, but not installed: {why}", "lockgate up")


def _run(contract: Contract, state: Mapping[str, object], starting: bool) -> "list[Condition]":
    running, partial = state["running"], _list(state, "partial")
    if running is not None:
        running = _object(running)
        # Format 1 does not tell whether the run lives; then it counts as one that does.
        if running.get("live", True):
            told = f"run {running['run_id']} ({running['kind']}) is under way since {running['started_at']}"
            if starting:
                return [
                    Condition(
                        "migration:run", FAIL, Answer.MIGRATING, told, "Wait for it: lockgate gate wait"
                    )
                ]
            return [Condition("migration:run", PASS, Answer.READY, f"{told}; a process that serves goes on")]
    if partial:
        told = f"a file stopped half way: {', '.join(map(str, partial))}"
        if starting:
            return [
                Condition(
                    "migration:partial",
                    FAIL,
                    Answer.PARTIAL,
                    told,
                    "lockgate status --steps, then lockgate up",
                )
            ]
        return [Condition("migration:partial", PASS, Answer.READY, f"{told}; a process that serves goes on")]
    return [Condition("migration:run", PASS, Answer.READY, "no run is under way, no file is half done")]


def _revision(contract: Contract, state: Mapping[str, object], starting: bool) -> Condition:
    revision, floor = _text(state["revision"]), _text(state["compat_floor"])
    announced = _text(state.get("announced_floor", ""))
    window = f"{contract.min} to {contract.max}"
    if floor > contract.max:
        return Condition(
            "schema:revision", FAIL, Answer.AHEAD_TOO_FAR,
            f"the database is at {revision} and serves no window that ends below {floor}; this image runs on {window}",
            "Deploy an image whose window reaches the floor.",
        )  # fmt: skip
    if starting and announced > contract.max:
        return Condition(
            "schema:revision", FAIL, Answer.AHEAD_TOO_FAR,
            f"contract-phase migration {announced} is about to be applied; this image runs on {window}",
            "Deploy an image whose window reaches it.",
        )  # fmt: skip
    if revision < contract.min:
        return Condition(
            "schema:revision", FAIL, Answer.BEHIND,
            f"the database is at {revision or 'no revision'}; this image needs {contract.min} or newer", "lockgate up",
        )  # fmt: skip
    if revision > contract.max:
        return Condition(
            "schema:revision", PASS, Answer.AHEAD_OK,
            f"the database is at {revision}, ahead of {window}, and its floor is {floor or 'not raised'}",
        )  # fmt: skip
    return Condition("schema:revision", PASS, Answer.READY, f"the database is at {revision}, within {window}")


def _digest(contract: Contract, state: Mapping[str, object]) -> "list[Condition]":
    if not contract.digest:
        return []
    revision = _text(state["revision"])
    wanted = contract.digest if revision >= contract.max else contract.digests.get(revision, "")
    if not wanted:
        told = f"the digest is over all files up to {contract.max}, and the database is not there yet"
        return [Condition("schema:digest", PASS, Answer.READY, told)]
    seen = state.get("digest")
    if not seen:
        told = "this database is of an older format, which gives no digest"
        return [
            Condition(
                "schema:digest",
                UNKNOWN,
                Answer.UNKNOWN,
                told,
                "lockgate up brings the schema lockgate up to date.",
            )
        ]
    if seen != wanted:
        # What is below max has no rows above it, so the digest up to max is that of all there is.
        told = f"the files up to {min(revision, contract.max)} were applied as {str(seen)[:12]}, this image was built with {wanted[:12]}"
        return [
            Condition(
                "schema:digest",
                FAIL,
                Answer.CHECKSUM_MISMATCH,
                told,
                "lockgate status in the release's checkout names the file.",
            )
        ]
    return [
        Condition("schema:digest", PASS, Answer.READY, f"applied as {wanted[:12]}, as the image was built")
    ]


def _secrets(state: Mapping[str, object], own: Own) -> "list[Condition]":
    accepted = _list(state, "secrets")
    if not accepted:
        return []
    named = ", ".join(str(revision)[:16] for revision in accepted)
    if not own.secrets_revision:
        told = f"the environment accepts {named}; this process shows no revision of its secrets"
        return [
            Condition(
                "secrets:revision",
                FAIL,
                Answer.SECRETS_MISMATCH,
                told,
                "Set LOCKGATE_SECRETS_REVISION, or name the secrets.",
            )
        ]
    if own.secrets_revision not in accepted:
        told = f"this process has {own.secrets_revision[:16]}; the environment accepts {named}"
        return [
            Condition(
                "secrets:revision",
                FAIL,
                Answer.SECRETS_MISMATCH,
                told,
                f"Restart with the current secrets, or lockgate gate secrets accept {_pasted(own.secrets_revision)} --reason TEXT",
            )
        ]
    return [
        Condition(
            "secrets:revision",
            PASS,
            Answer.READY,
            f"{own.secrets_revision[:16]} is one of {len(accepted)} accepted",
        )
    ]


def _pasted(revision: str) -> str:
    """A revision that lockgate derived, in full; what else stands there may be a secret that was put there by mistake."""
    derived = len(revision) == 33 and revision[0] == "s" and set(revision[1:]) <= set("0123456789abcdef")
    return revision if derived else "REVISION"


def _indexes(contract: Contract, state: Mapping[str, object], own: Own) -> "list[Condition]":
    live = _object(state.get("indexes", {}))
    return [
        _index(name, spec, live.get(name), own.index_hashes.get(name))
        for name, spec in contract.indexes.items()
    ]


def _index(name: str, spec: str, live: object, loaded: "str | None") -> Condition:
    def no(told: str, next: str) -> Condition:
        return Condition(f"index:{name}", FAIL, Answer.INDEX_MISMATCH, told, next)

    if not isinstance(live, dict):
        return no(
            "declared, but no generation of it is live here", f"lockgate index build {name}, then swap it in."
        )
    generation = live["generation"]
    if live["spec_hash"] != spec:
        return no(
            f"generation {generation} was built as {str(live['spec_hash'])[:16]}, this image needs {spec[:16]}",
            f"lockgate index build {name}, then swap it in.",
        )
    if not live["index_hash"] or not live.get("valid", True):
        return no(f"generation {generation} is not sealed or not valid", f"lockgate index list {name}")
    if loaded is not None and loaded != live["index_hash"]:
        return no(
            f"this process has loaded {loaded[:16]}, live is generation {generation} with {str(live['index_hash'])[:16]}",
            "Load the live generation again.",
        )
    return Condition(
        f"index:{name}",
        PASS,
        Answer.READY,
        f"generation {generation}, sealed as {str(live['index_hash'])[:16]}",
    )


def _registered(state: Mapping[str, object], starting: bool) -> "list[Condition]":
    """Whether `up` sees this process: a contract-phase file waits for those that are registered, and for nobody else.

    A one-shot gate, and a database of format 1, say nothing of it.
    """
    name = "instance:registered"
    if "registered" not in state:
        return []
    if state["registered"] is None:
        return [Condition(name, PASS, Answer.READY, UNREGISTERED)]
    if state["registered"]:
        return [
            Condition(
                name, PASS, Answer.READY, "this process is registered: a contract-phase file waits for it"
            )
        ]
    why = _text(state.get("why", ""))
    if why == "outside the window":
        if starting:
            return []  # schema:revision says so itself
        told = "its heartbeat had expired, and a contract-phase migration beyond its window is announced"
        return [Condition(name, FAIL, Answer.AHEAD_TOO_FAR, told, "Deploy an image whose window reaches it.")]
    if "read-only" in why:
        then = "Give the gate the primary's URL, for the registration belongs there; or say that it does not register: run --no-register, Gate(registers=False)."
    else:
        then = "lockgate roles prints the SQL that grants it; or say that it does not register: run --no-register, Gate(registers=False)."
    told = f"this process cannot be registered, so a contract-phase file would not wait for it: {why}"
    return [Condition(name, UNKNOWN, Answer.UNKNOWN, told, then)]


UNREGISTERED = (
    "this process is NOT registered, as it was asked to be: a contract-phase file does not wait for it"
)

STAGES = (
    "planned",
    "dual_write",
    "backfilling",
    "reconciled",
    "shadowing",
    "ready",
    "cut_over",
    "tail",
    "finished",
)
"""The order of a move's stages. Any other stage is reached by itself only; a paused move still captures writes."""


def _moves(contract: Contract, state: Mapping[str, object]) -> "list[Condition]":
    moves = _object(state.get("moves", {}))
    found = []
    for name, needed in contract.moves.items():
        move = moves.get(name)
        if not isinstance(move, dict):
            told = f"the image needs stage {needed}; no such move is known here"
            found.append(
                Condition(f"move:{name}", FAIL, Answer.MOVE_NOT_READY, told, f"lockgate move plan {name}")
            )
            continue
        stage = str(move["stage"])
        reached = stage == needed or _rank("dual_write" if stage == "paused" else stage) >= _rank(needed) >= 0
        if reached:
            found.append(Condition(f"move:{name}", PASS, Answer.READY, f"at {stage}, {needed} is needed"))
        else:
            told = f"at {stage}; the image needs {needed}"
            found.append(
                Condition(f"move:{name}", FAIL, Answer.MOVE_NOT_READY, told, f"lockgate move status {name}")
            )
    return found


def _rank(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else -1


def _warnings(sight: Sight) -> "tuple[str, ...]":
    announced = sight.state.get("announced_floor")
    found = (f"contract-phase migration {announced} is announced",) if announced else ()
    return (*found, UNREGISTERED) if sight.state.get("registered", True) is None else found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def _list(state: Mapping[str, object], key: str) -> list[object]:
    value = state.get(key, [])
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value
