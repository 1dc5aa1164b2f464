"""``lockgate explain``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, shared, usage

if TYPE_CHECKING:
    from lockgate.cli.output import Output
    from lockgate.policy.hazard import Hazard
    from lockgate.record.reasons import Reason


@click.command("explain")
@shared(target=False)
@click.argument("id", required=False)
def command(id: str | None, **shared_options: Any) -> None:
    """Tell what the hazard or reason code ID means and what to do; without ID, list them all."""
    from lockgate.policy.pages import every_hazard
    from lockgate.record.reasons import REASONS

    known = every_hazard()

    output = Session(**shared_options).output
    if id is None:
        hazards, reasons = list(known.values()), list(REASONS.values())
        output.table(("hazard", "severity", "what"), [(h.id, h.severity, h.name) for h in hazards])
        output.say()
        output.table(
            ("reason code", "exit", "what"), [(r.code, str(int(r.exit)), r.meaning) for r in reasons]
        )
        output.say("\n`lockgate explain ID` tells more.")
    elif id.lower() in known:
        hazards, reasons = [known[id.lower()]], []
        output.say("\n".join(_hazard(hazards[0], output)))
    elif id.upper() in REASONS:
        hazards, reasons = [], [REASONS[id.upper()]]
        output.say("\n".join(_reason(reasons[0], output)))
    else:
        raise usage(_unknown(id, [*known, *REASONS]), next="lockgate explain")
    output.json(
        {
            "command": "explain",
            "hazards": [_hazard_document(h) for h in hazards],
            "reasons": [{**r._asdict(), "exit": int(r.exit)} for r in reasons],
        }
    )


def _unknown(id: str, known: list[str]) -> str:
    from difflib import get_close_matches

    by_case = {word.lower(): word for word in known}
    near = [by_case[word] for word in get_close_matches(id.lower(), by_case, n=5, cutoff=0.5)]
    near += [word for word in known if len(id) > 2 and id.lower() in word.lower() and word not in near]
    hint = f"; near it: {', '.join(near[:8])}" if near else ""
    return f"there is no hazard and no reason code {id[:80]!r}{hint}"


def severity_of(row: "Hazard") -> str:
    """The severity in words, with what changes it."""
    words = row.severity
    if row.contract_severity:
        words += f"; {row.contract_severity} in a file that declares phase=contract"
    if row.by_size:
        words += "; info where a snapshot shows that the table is small"
    if row.destructive:
        words += "; warning in the profile early-stage"
    if row.lowered:
        words += "; `allow=` makes it a warning"
    if not row.suppressible:
        words += "; `allow=` cannot hide it"
    return words


def _hazard(row: "Hazard", output: "Output") -> Iterator[str]:
    yield f"{output.mark(row.id, 'bold')}: {row.name}"
    yield ""
    yield f"  Looks for  {row.detects}"
    if row.lock:
        yield f"  Lock       {row.lock}"
    yield f"  Effect     {row.effect}"
    yield f"  Instead    {row.workaround}"
    yield f"  Severity   {severity_of(row)}"
    yield f"  Source     {row.source}"
    for title, text, kind in (
        ("Before", row.setup, "dim"),
        ("Bad", row.bad, "bad"),
        ("Good", row.good, "good"),
    ):
        if text:
            yield ""
            yield f"  {output.mark(title, kind)}"
            yield from (f"    {line}" for line in text.split("\n"))


def _hazard_document(row: "Hazard") -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "detects": row.detects, "effect": row.effect, "lock": row.lock,
        "severity": row.severity, "contractSeverity": row.contract_severity, "bySize": row.by_size,
        "suppressible": row.suppressible, "workaround": row.workaround, "source": row.source,
        "setup": row.setup, "bad": row.bad, "good": row.good,
    }  # fmt: skip


def _reason(row: "Reason", output: "Output") -> Iterator[str]:
    yield f"{output.mark(row.code, 'bold')}: {row.meaning}"
    yield ""
    yield f"  State  {row.state}"
    yield f"  Next   {row.next}"
    yield f"  Exit   {int(row.exit)}"
