"""The peers that lockgate is measured against, installed from the registries when the bench runs."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lockgate-bench"


def install() -> None:
    """Install what is missing into the bench's own cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    node = CACHE / "node"
    if not (node / "node_modules" / "node-pg-migrate").is_dir():
        node.mkdir(exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", "dbmate", "node-pg-migrate", "pg"],
            cwd=node,
            check=True,
        )
    python = CACHE / "python"
    if not (python / "bin" / "yoyo").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        subprocess.run(
            [
                str(python / "bin" / "pip"),
                "install",
                "-q",
                "alembic",
                "yoyo-migrations",
                "psycopg2-binary",
                "psycopg[binary]",
                "setuptools",
            ],
            check=True,
        )


def dbmate() -> str:
    """The dbmate binary of the wheel for this machine."""
    return str(next((CACHE / "node" / "node_modules" / "@dbmate").glob("*/bin/dbmate")))


class Peer:
    """One tool: writes the same migrations in its own form, and gives the command that applies them."""

    def __init__(self, name: str, folder: Path, statements: list[str], url: str) -> None:
        self.name = name
        self.folder = folder
        self.url = url
        folder.mkdir(parents=True)
        getattr(self, f"_write_{name.replace('-', '_')}")(statements)

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Arguments and extra environment of one whole `up`."""
        return getattr(self, f"_command_{self.name.replace('-', '_')}")()

    def _write_dbmate(self, statements: list[str]) -> None:
        for i, sql in enumerate(statements):
            (self.folder / f"{1700000000000 + i}_m{i}.sql").write_text(
                f"-- migrate:up\n{sql}\n-- migrate:down\n"
            )

    def _command_dbmate(self) -> tuple[list[str], dict[str, str]]:
        return [
            dbmate(),
            "--url",
            f"{self.url}?sslmode=disable",
            "--no-dump-schema",
            "-d",
            str(self.folder),
            "up",
        ], {}

    def _write_node_pg_migrate(self, statements: list[str]) -> None:
        for i, sql in enumerate(statements):
            (self.folder / f"{1700000000000 + i}_m{i}.sql").write_text(
                f"-- Up Migration\n{sql}\n-- Down Migration\n"
            )

    def _command_node_pg_migrate(self) -> tuple[list[str], dict[str, str]]:
        script = CACHE / "node" / "node_modules" / ".bin" / "node-pg-migrate"
        return [
            str(script),
            "up",
            "-m",
            str(self.folder),
            "--no-single-transaction",
            "--log-level",
            "error",
        ], {"DATABASE_URL": self.url}

    def _write_yoyo(self, statements: list[str]) -> None:
        for i, sql in enumerate(statements):
            (self.folder / f"{1700000000000 + i}_m{i}.sql").write_text(sql + "\n")

    def _command_yoyo(self) -> tuple[list[str], dict[str, str]]:
        url = self.url.replace("postgresql://", "postgresql+psycopg://")
        return [
            str(CACHE / "python" / "bin" / "yoyo"),
            "apply",
            "--batch",
            "--no-config-file",
            "--database",
            url,
            str(self.folder),
        ], {}

    def _write_alembic(self, statements: list[str]) -> None:
        versions = self.folder / "versions"
        versions.mkdir()
        for i, sql in enumerate(statements):
            before = f"'{1700000000000 + i - 1}'" if i else "None"
            (versions / f"{1700000000000 + i}.py").write_text(
                f"revision = '{1700000000000 + i}'\ndown_revision = {before}\nbranch_labels = depends_on = None\n"
                f"from alembic import op\ndef upgrade():\n    op.execute({sql!r})\ndef downgrade():\n    pass\n"
            )
        url = self.url.replace("postgresql://", "postgresql+psycopg2://")
        (self.folder / "alembic.ini").write_text(
            f"[alembic]\nscript_location = {self.folder}\nsqlalchemy.url = {url}\n"
        )
        (self.folder / "env.py").write_text(
            textwrap.dedent("""\
            from alembic import context
            from sqlalchemy import create_engine
            engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
            with engine.connect() as connection:
                context.configure(connection=connection, transaction_per_migration=True)
                with context.begin_transaction():
                    context.run_migrations()
            """)
        )

    def _command_alembic(self) -> tuple[list[str], dict[str, str]]:
        return [
            str(CACHE / "python" / "bin" / "alembic"),
            "-c",
            str(self.folder / "alembic.ini"),
            "upgrade",
            "head",
        ], {}


def database_name(url: str) -> str:
    """The database of a URL."""
    return urlsplit(url).path.lstrip("/")
