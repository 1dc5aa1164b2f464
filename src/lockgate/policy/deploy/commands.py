"""Which tool migrates in a command line, and whether the line does anything else."""

import re

_FILL = r"(?:\s+[^\s;&|]+)*?"
_TOOLS: tuple[tuple[str, str], ...] = (
    ("lockgate", rf"\blockgate{_FILL}\s+(?:up|release|bootstrap)\b(?!\s+(?:show|recover|--help))"),
    ("alembic", rf"\balembic{_FILL}\s+upgrade\b(?!{_FILL}\s+--sql\b)"),
    ("flask db", rf"\bflask{_FILL}\s+db\s+upgrade\b"),
    ("django migrate", rf"(?:\bmanage\.py|\bdjango-admin|-m\s+django){_FILL}\s+migrate\b(?!{_FILL}\s+--(?:check|plan)\b)"),
    ("node-pg-migrate", rf"\bnode-pg-migrate{_FILL}\s+up\b"),
    ("prisma", r"\bprisma\s+(?:migrate\s+(?:deploy|dev|reset)|db\s+push)\b"),
    ("flyway", rf"\bflyway{_FILL}\s+migrate\b"),
    ("liquibase", rf"\bliquibase{_FILL}\s+update\b"),
    ("dbmate", rf"\bdbmate{_FILL}\s+(?:up|migrate)\b"),
    ("rails", r"\b(?:rails|rake)\s+(?:\S+\s+)*?db:(?:migrate|prepare|setup|schema:load)(?![:\w])"),
    ("sqlx", rf"\bsqlx{_FILL}\s+migrate\s+run\b"),
    ("goose", rf"\bgoose{_FILL}\s+up(?:-to|-by-one)?\b"),
    ("golang-migrate", r"(?<![\w./-])(?:/\S+/)?migrate\s+(?=[^;&|]*-(?:path|source|database)\b)[^;&|]*\s(?:up|goto)\b"),
    ("knex", rf"\bknex{_FILL}\s+migrate:(?:latest|up)\b"),
    ("sequelize", rf"\bsequelize(?:-cli)?{_FILL}\s+db:migrate(?![:\w])"),
    ("typeorm", rf"\btypeorm\S*{_FILL}\s+migration:run\b"),
    ("drizzle-kit", r"\bdrizzle-kit\s+(?:migrate|push)\b"),
    ("artisan", r"\bartisan\s+migrate(?![:\w])"),
    ("doctrine", r"\bdoctrine:migrations:migrate\b"),
    ("ecto", r"\bmix\s+ecto\.(?:migrate|setup)\b"),
    ("atlas", rf"\batlas{_FILL}\s+(?:migrate|schema)\s+apply\b"),
    ("sqitch", r"\bsqitch\s+deploy\b"),
    ("diesel", r"\bdiesel\s+(?:migration\s+run|setup)\b"),
    ("dotnet ef", r"\bdotnet\s+ef\s+database\s+update\b"),
    ("yoyo", rf"\byoyo{_FILL}\s+apply\b"),
    ("pgroll", rf"\bpgroll{_FILL}\s+(?:start|migrate|complete)\b"),
    ("a migrate script", r"\b(?:npm|yarn|pnpm|bun)\s+(?:run\s+)?(?:db:)?migrat(?:e|ions?)(?::(?:up|deploy|latest|run|prod))?(?![:\w-])"),
    ("make migrate", r"\bmake\s+(?:\S+\s+)*?(?:db-)?migrate(?![-:\w])"),
)  # fmt: skip
_IMAGES: tuple[tuple[str, str, str], ...] = (
    ("flyway", r"(?:flyway|redgate)/flyway", r"\bmigrate\b"),
    ("golang-migrate", r"migrate/migrate", r"(?:^|\s)(?:up|goto)\b"),
    ("liquibase", r"liquibase/liquibase(?:-pro|-secure)?", r"(?:^|\s)update(?:-\S+)?(?:\s|$)"),
    ("atlas", r"arigaio/atlas", r"\b(?:migrate|schema)\s+apply\b"),
    ("dbmate", r"amacneil/dbmate", r"(?:^|\s)(?:up|migrate)\b"),
)
_OF_IMAGES = tuple(
    (tool, re.compile(rf"(?:^|/){image}(?:[:@]|$)"), re.compile(words)) for tool, image, words in _IMAGES
)
_PATTERNS = tuple((tool, re.compile(pattern)) for tool, pattern in _TOOLS)
_TRIVIAL = re.compile(
    r"^(?:set\b|cd\b|export\b|echo\b|printf\b|sleep\b|true$|:|exit\b|wait-for|until\b|while\b|do$|done$|then$|fi$|if\b|else$|pg_isready|nc\b|source\b|\.\s|trap\b|shift\b|\w+=\S*$|[()}{]$)"
)


def plain(command: str) -> str:
    """A command line, or a JSON or YAML list of words, as words with spaces between."""
    return re.sub(r"[\[\]\"',`]+", " ", command.replace("\\\n", " "))


def parts(command: str) -> list[str]:
    """The single commands of a command line or script, comments left out."""
    found = []
    for line in plain(command).split("\n"):
        line = re.sub(r"(?:^|(?<=\s))#.*$", "", line)
        found += [part.strip() for part in re.split(r"&&|\|\||[;|&]", line)]
    return [re.sub(r"^(?:(?:/\S*/)?(?:ba|da|z)?sh\s+(?:-\w+\s+)+)", "", part) for part in found if part]


def migrating(command: str) -> str:
    """The tool that migrates in ``command``, or ""."""
    for part in parts(command):
        if re.match(r"(?:echo|printf|grep|which|command -v)\b", part):
            continue
        for tool, pattern in _PATTERNS:
            if pattern.search(part):
                return tool
    return ""


def migrating_image(image: str, arguments: str) -> str:
    """The tool that is the entry point of ``image`` and migrates with these arguments, or ""."""
    for tool, name, words in _OF_IMAGES:
        if name.search(image) and words.search(plain(arguments).strip()):
            return tool
    return ""


def only_migrates(command: str) -> bool:
    """Whether there is nothing in ``command`` but migrating and what prepares it: the command of a job of its own."""
    return all(migrating(part) or _TRIVIAL.match(part) for part in parts(command))
