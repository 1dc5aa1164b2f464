"""``lockgate new``."""

from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, shared, usage

if TYPE_CHECKING:
    from lockgate.release.recipes import Written

_LIST = "list"


@click.command("new")
@shared(target=False)
@click.option(
    "--recipe",
    metavar="NAME",
    default=None,
    help="Write the whole sequence of a change; `--recipe list` tells which there are.",
)
@click.option(
    "--set",
    "given",
    metavar="KEY=VALUE",
    multiple=True,
    help="A parameter of the recipe; give it once for each.",
)
@click.option("--dry-run", is_flag=True, help="Print the files of the recipe and write none.")
@click.argument("name", required=False)
def command(
    name: str | None, recipe: str | None, given: tuple[str, ...], dry_run: bool, **shared_options: Any
) -> None:
    """Create the next migration file, or those of a recipe, and put them into the ledger.

    The revision is the time in milliseconds, and always above the newest file's. Contract files of a recipe wait in
    the contract directory until `lockgate promote` dates them.
    """
    session = Session(**shared_options)
    if recipe == _LIST:
        _list(session)
    elif recipe is not None:
        _follow(session, recipe, name, given, dry_run)
    elif given or dry_run:
        raise usage("--set and --dry-run belong to --recipe", next="lockgate new --recipe list")
    elif name is None:
        raise click.UsageError("Missing argument 'NAME'.", click.get_current_context())
    else:
        _single(session, name)


def _single(session: Session, name: str) -> None:
    from lockgate.migrations.scaffold import create

    path = create(session.settings.path(session.settings.migrations.directory), name)
    session.output.json({"command": "new", "file": str(path), "revision": path.name[:13]})
    session.output.say(str(path))
    session.output.note("next: write the SQL, then lockgate check --write-ledger")


def _list(session: Session) -> None:
    from lockgate.policy.recipes import RECIPES

    rows = [
        {
            "name": recipe.name,
            "does": recipe.does,
            "parameters": [
                {"name": p.name, "required": p.required, "meaning": p.meaning} for p in recipe.parameters
            ],
        }
        for recipe in RECIPES.values()
    ]
    session.output.json({"command": "new", "recipes": rows})
    for recipe in RECIPES.values():
        session.output.say(f"{session.output.mark(recipe.name, 'bold')}: {recipe.does}")
        for p in recipe.parameters:
            session.output.say(f"    {p.name + ('' if p.required else ' (optional)'):28} {p.meaning}")


def _follow(session: Session, recipe: str, name: str | None, given: tuple[str, ...], dry_run: bool) -> None:
    from lockgate.release.recipes import plan, write

    values: dict[str, str] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise usage(f"--set {pair}: write KEY=VALUE", next="lockgate new --recipe list")
        if key.strip() in values:
            raise usage(f"--set {key.strip()} is given twice", next="lockgate new --recipe list")
        values[key.strip()] = value
    files, move, notes = plan(session.settings, recipe, name, values)
    if not dry_run:
        files = write(session.settings, files, move)
    document = {
        "command": "new", "recipe": recipe, "dryRun": dry_run, "files": [_document(file) for file in files],
        "move": None if move is None else {"name": move.declared.name, "file": str(move.path), "text": move.declared.text},
        "notes": notes,
    }  # fmt: skip
    session.output.json(document)
    for note in notes:
        session.output.note(f"note: {note}")
    for file in files:
        session.output.say(f"-- {file.path}\n{file.step.text}" if dry_run else str(file.path))
    if move is not None:
        session.output.say(f"-- {move.path}\n{move.declared.text}" if dry_run else str(move.path))
    waiting = [file.step.name for file in files if file.step.waiting]
    if not dry_run:
        session.output.note("next: lockgate check; then commit the files")
        if move is not None:
            session.output.note(
                f"then lockgate up, and lockgate move run {move.declared.name}, which fills in the rows that are there"
            )
        for name in waiting:
            session.output.note(f"later, when no release needs it any more: lockgate promote {name}")


def _document(file: "Written") -> dict[str, Any]:
    step = file.step
    return {
        "file": str(file.path), "revision": file.revision, "phase": step.phase, "transactional": step.transactional,
        "waiting": step.waiting, "after": [f"move:{move}" for move in step.after], "text": step.text,
    }  # fmt: skip
