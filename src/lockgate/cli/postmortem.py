"""``lockgate postmortem``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.group("postmortem")
def command() -> None:
    """What is written down after a release went wrong."""


@command.command("new")
@shared(target=False)
@click.argument("sha")
@click.option("--out", metavar="FILE", default=None, help="Where it goes (default: docs/postmortems/SHA.md).")
def new(sha: str, out: str | None, **shared_options: Any) -> None:
    """Open a postmortem of the release of SHA: its facts are filled in, and it asks for the regression test."""
    import json
    from pathlib import Path

    from lockgate.release.artifact import folder
    from lockgate.release.papers_text import postmortem

    session = Session(**shared_options)
    source = folder(session.settings.path(session.settings.artifacts.directory), sha) / "release.json"
    if not source.is_file():
        raise usage(f"{source} is not there", f"lockgate release show {sha} --rebuild")
    path = Path(out) if out else session.settings.path("docs/postmortems") / f"{sha[:12]}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(postmortem(json.loads(source.read_text("utf-8"))))
    except FileExistsError:
        raise usage(f"{path} is there already", "Give another place with --out.") from None
    except OSError as error:
        raise usage(f"{path}: {error.strerror}", "Give another place with --out.") from None
    session.output.json({"command": "postmortem new", "file": str(path), "sha": sha})
    session.output.say(f"made  {path}")
