"""``lockgate postmortem``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.group("postmortem")
def command() -> None:
    """What is written down after a release went wrong."""


@command.command("new")
@shared()
@click.argument("sha")
@click.option(
    "--out", metavar="FILE", default=None, help="Where it goes (default: docs/postmortems/[ENV-]SHA.md)."
)
def new(sha: str, out: str | None, **shared_options: Any) -> None:
    """Open a postmortem of the newest failed release of SHA: its facts are filled in, and it asks for the regression test.

    The facts are those of the artifacts, also where a resume or another release of SHA has replaced them; where none is here, those of the
    environment's journal.
    """
    from pathlib import Path

    from lockgate.release.artifact import folder
    from lockgate.release.postmortem import from_journal, kept, newest_failed, page

    session = Session(**shared_options)
    environment: str | None = shared_options["env"]
    known = kept(folder(session.settings.path(session.settings.artifacts.directory), sha), environment)
    failed = newest_failed(known) or from_journal(session.target(), session.settings, sha)
    if failed is None:
        where = f" to {environment}" if environment else ""
        raise usage(
            f"no failed release of {sha[:12]}{where} is known, neither in the artifacts nor in the journal",
            f"lockgate release show {sha}",
        )
    later = [one for one in known if one["generatedAt"] > failed["generatedAt"]]
    place = "-".join(one for one in (failed["environment"], sha[:12]) if one)
    path = Path(out) if out else session.settings.path("docs/postmortems") / f"{place}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(page(failed, later))
    except FileExistsError:
        raise usage(f"{path} is there already", "Give another place with --out.") from None
    except OSError as error:
        raise usage(f"{path}: {error.strerror}", "Give another place with --out.") from None
    session.output.json(
        {
            "command": "postmortem new",
            "file": str(path),
            "sha": sha,
            "environment": failed["environment"],
            "releaseKey": failed["releaseKey"],
            "reasonCode": failed["reasonCode"],
        }
    )
    session.output.say(f"made  {path}")
    session.output.say(f"of    {failed['releaseKey']}: {failed['status']} {failed['reasonCode']}".rstrip())
