"""``lockgate init``."""

from pathlib import Path
from typing import Any

import click

from lockgate.cli.options import Session, shared

_TEMPLATES = Path(__file__).parent / "templates"
_CI = {
    "github": (".github/workflows/migrations.yml", "github.yml"),
    "gitlab": (".gitlab/migrations.yml", "gitlab.yml"),
}
_DEPLOY = {
    "kubernetes": ("deploy/kubernetes/migrate-job.yaml", "deploy/kubernetes.yml"),
    "helm": ("deploy/helm/templates/migrate-job.yaml", "deploy/helm.yml"),
    "compose": ("compose.migrate.yaml", "deploy/compose.yml"),
    "aca": ("deploy/aca/migrate-job.yaml", "deploy/aca.yml"),
}


@click.command("init")
@shared(target=False)
@click.option(
    "--ci",
    type=click.Choice(sorted(_CI)),
    default=None,
    help="Also write a CI workflow that checks and releases.",
)
@click.option(
    "--deploy",
    type=click.Choice(sorted(_DEPLOY)),
    multiple=True,
    help="Also write the manifest of the migration job for this platform.",
)
def command(ci: str | None, deploy: tuple[str, ...], **shared_options: Any) -> None:
    """Start a project here: lockgate.toml, db/migrations/ with an example, .gitattributes, and a CI workflow.

    What is there already is left as it is.
    """
    from lockgate.migrations.scaffold import create

    session = Session(**shared_options)
    root = session.settings.root
    directory = session.settings.path(session.settings.migrations.directory)
    made: list[str] = []
    kept: list[str] = []

    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            made.append(str(path))
        except FileExistsError:
            kept.append(str(path))

    write(root / "lockgate.toml", (_TEMPLATES / "lockgate.toml").read_text("utf-8"))
    directory.mkdir(parents=True, exist_ok=True)
    # Checksums are over bytes: git must not change line ends on the way.
    write(directory / ".gitattributes", "*.sql -text\n")
    if any(directory.glob("*.sql")):
        kept.append(f"{directory}/*.sql")
    else:
        made.append(str(create(directory, "first_table", (_TEMPLATES / "example.sql").read_text("utf-8"))))
    if ci:
        target, template = _CI[ci]
        write(root / target, (_TEMPLATES / template).read_text("utf-8"))
    for platform in deploy:
        target, template = _DEPLOY[platform]
        write(root / target, (_TEMPLATES / template).read_text("utf-8"))
    _ignore(root, made)
    session.output.json({"command": "init", "made": made, "kept": kept})
    for path in made:
        session.output.say(f"made  {path}")
    for path in kept:
        session.output.say(f"kept  {path}")
    session.output.say(
        "next  lockgate check, then lockgate up (an embedded PostgreSQL starts when no URL is configured)"
    )


def _ignore(root: Path, made: list[str]) -> None:
    path = root / ".gitignore"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    missing = [line for line in (".lockgate/", ".artifacts/") if line not in lines]
    if missing:
        path.write_text("\n".join([*lines, *missing]) + "\n", "utf-8")
        made.append(str(path))
