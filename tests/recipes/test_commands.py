"""``lockgate new --recipe`` and ``lockgate promote`` as processes."""

import psycopg
import pytest

from lockgate.config import Settings
from lockgate.errors import CheckFailed, ConfigError
from lockgate.release.promote import promote
from support.calls import FIRST, Project

SET = ["--set", "table=orders", "--set", "column=note", "--set", "to=remark", "--set", "type=text"]
DROP = "-- lockgate: phase=contract\nDROP TABLE orders;\n"


@pytest.fixture
def shop(tmp_path) -> Project:
    """A project of one table, without a database."""
    project = Project(tmp_path)
    project.write("orders", "CREATE TABLE orders (id bigint PRIMARY KEY, note text);\n")
    return project


def _wait(project: Project, name: str, text: str | bytes = DROP) -> None:
    folder = project.root / "db" / "contract"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sql").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_recipe_is_written_and_checks(shop):
    """The files are in the ledger and pass check; the contract file waits and is no migration yet."""
    document = shop.ok("new", "new", "Call it remark", "--recipe", "rename-column", *SET)
    assert [file["waiting"] for file in document["files"]] == [False, False, True]
    assert all((shop.root / file["file"]).read_text() == file["text"] for file in document["files"])
    assert (shop.root / "db/contract/call_it_remark.sql").is_file()
    assert shop.ok("check", "check")["files"] == 3


def test_a_recipe_names_itself(shop):
    """Without a name the files are called after recipe, table and columns."""
    shop.ok("new", "new", "--recipe", "rename-column", *SET)
    assert (shop.root / "db/contract/rename_column_orders_note_remark.sql").is_file()


def test_a_made_up_name_is_short_and_holds_names_only(shop):
    """Types are no part of it, what is too long for a move is cut, and two cut names stay two."""
    shop.write(
        "wide",
        "CREATE TABLE wide (id bigint PRIMARY KEY, addr_street text, addr_city text, addr_zip text);\n",
    )
    call = [
        "--recipe",
        "split-table",
        "--dry-run",
        "--set",
        "table=wide",
        "--set",
        "key=id",
        "--set",
        "key_type=bigint",
    ]
    call += ["--set", "to=wide_addresses"]
    names = [
        shop.ok("new", "new", *call, "--set", f"columns={columns}")["move"]["name"]
        for columns in ("addr_street:text,addr_city:text,addr_zip:text", "addr_street:text,addr_city:text")
    ]
    assert len(set(names)) == 2
    assert all(
        len(name) <= 40 and "text" not in name and name.startswith("split_table_wide_addr") for name in names
    )


def test_letters_with_accents_keep_their_base(shop):
    """A name of another language stays readable: marks are taken off, ß is ss."""
    assert shop.ok("new", "new", "Größe ändern, Straße")["file"].endswith("_grosse_andern_strasse.sql")


def test_dry_run_writes_nothing(shop):
    """--dry-run shows every file and leaves the folder as it was."""
    before = sorted(shop.root.rglob("*"))
    document = shop.ok("new", "new", "x", "--recipe", "rename-column", "--dry-run", *SET)
    assert document["dryRun"] is True
    answer = shop.text("new", "x", "--recipe", "rename-column", "--dry-run", *SET)
    assert all(file["text"] in answer.out for file in document["files"])
    assert sorted(shop.root.rglob("*")) == before


def test_the_list_of_recipes(shop):
    """--recipe list tells every recipe with its parameters, in both formats."""
    document = shop.ok("new", "new", "--recipe", "list")
    answer = shop.text("new", "--recipe", "list")
    assert len(document["recipes"]) == 12
    for recipe in document["recipes"]:
        assert recipe["name"] in answer.out
        assert all(parameter["meaning"] in answer.out for parameter in recipe["parameters"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "rename"], "rename-column"),
        (["--recipe", "rename-column", "--set", "table=orders"], "column"),
        (["--recipe", "rename-column", "--set", "table"], "KEY=VALUE"),
        (["--recipe", "rename-column", *SET, *SET], "twice"),
        (["x", "--dry-run"], "--recipe"),
        (["x", "--set", "a=b"], "--recipe"),
        (["!!!", "--recipe", "rename-column", *SET], "!!!"),
        ([], "NAME"),
    ],
)
def test_wrong_calls(shop, arguments, told):
    """Each wrong call exits 2, says what is missing, and writes nothing."""
    before = sorted(shop.root.rglob("*"))
    answer = shop.json("new", *arguments)
    assert answer.code == 2
    assert told in answer.error("USAGE")["message"]
    assert sorted(shop.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("recipe", "values", "told"),
    [
        ("rename-column", {"column": "noet", "to": "remark", "type": "text"}, "did you mean note?"),
        ("rename-column", {"column": "note", "to": "id", "type": "text"}, "already"),
        ("change-type", {"column": "noet", "from": "text", "type": "jsonb"}, "id, note"),
        ("add-not-null", {"column": "nope"}, "orders has no column 'nope'"),
        ("drop-column", {"column": "nope"}, "nope"),
        ("add-index", {"columns": "id,nope"}, "nope"),
        ("add-unique", {"columns": "nope"}, "nope"),
        ("add-foreign-key", {"column": "nope", "references": "orders"}, "column=nope"),
        ("add-foreign-key", {"column": "note", "references": "orders", "references_column": "ix"}, "references_column=ix"),
        ("split-table", {"to": "notes", "key": "id", "key_type": "bigint", "columns": "noet:text"}, "noet"),
        (
            "partition-table",
            {"to": "by_day", "by": "made", "key": "id", "columns": "id,note,made", "bounds": "1,2"},
            "by=made",
        ),
    ],
)  # fmt: skip
def test_a_column_that_the_table_lacks_is_refused(shop, recipe, values, told):
    """Where the files make the table, a recipe for a column it lacks names those it has and writes nothing."""
    shop.write(
        "sequence",
        "CREATE SEQUENCE orders_seq;\nSELECT setval('orders_seq', (SELECT max(id) FROM orders));\n",
    )
    before = sorted(shop.root.rglob("*"))
    given = [
        word for key, value in {"table": "orders", **values}.items() for word in ("--set", f"{key}={value}")
    ]
    answer = shop.json("new", "--recipe", recipe, *given)
    assert answer.code == 2
    assert told in answer.error("USAGE")["message"]
    assert sorted(shop.root.rglob("*")) == before


MADE = (
    "CREATE TABLE inv (id int PRIMARY KEY, amt numeric, seen int GENERATED ALWAYS AS IDENTITY, at date NOT NULL,"
    " tot numeric GENERATED ALWAYS AS (amt * 2) STORED);\n"
)


@pytest.mark.parametrize(
    ("recipe", "values", "told"),
    [
        ("rename-column", {"column": "tot", "to": "total", "type": "numeric"}, "generated column"),
        ("change-type", {"column": "tot", "from": "numeric", "type": "text"}, "generated column"),
        ("add-not-null", {"column": "tot", "fill": "0"}, "it takes no fill"),
        ("drop-column", {"column": "tot", "default": "0"}, "it takes no default"),
        ("split-table", {"to": "t", "key": "id", "key_type": "int", "columns": "tot:numeric"}, "generated column"),
        ("partition-table", {"to": "t", "by": "at", "key": "id", "columns": "id,amt,at,tot", "bounds": "1,2"}, "generated column"),
        ("rename-column", {"column": "seen", "to": "met", "type": "int"}, "identity column"),
        ("change-type", {"column": "seen", "from": "int", "type": "bigint"}, "identity column"),
        ("split-table", {"to": "t", "key": "id", "key_type": "int", "columns": "seen:int"}, "identity column"),
        ("partition-table", {"to": "t", "by": "at", "key": "id", "columns": "id,amt,at,seen", "bounds": "1,2"}, "identity column"),
    ],
)  # fmt: skip
def test_a_column_that_the_server_makes_is_refused(shop, recipe, values, told):
    """What no trigger can write, generated and identity columns, is refused by name, and nothing is written."""
    shop.write("made", MADE)
    before = sorted(shop.root.rglob("*"))
    given = [p for k, v in {"table": "inv", **values}.items() for p in ("--set", f"{k}={v}")]
    assert told in shop.json("new", "--recipe", recipe, *given).error("USAGE")["message"]
    assert sorted(shop.root.rglob("*")) == before


@pytest.mark.parametrize("values", [["column=amt"], ["column=tot"]])
def test_a_generated_column_may_go(shop, values):
    """drop-column takes a generated column like any other: nothing has to be written to it."""
    shop.write("made", MADE)
    shop.ok("new", "new", "--recipe", "drop-column", "--set", "table=inv", "--set", *values)


@pytest.mark.parametrize(
    ("more", "table"),
    [("", "ordres"), ("DO $$ BEGIN EXECUTE 'ALTER TABLE orders ADD ' || 'nope text'; END $$;\n", "orders")],
)
def test_what_cannot_be_looked_up_is_a_note(shop, more, table):
    """A table that no file makes, or that a block may have changed, is told in a note; the files are written."""
    if more:
        shop.write("block", more)
    document = shop.ok(
        "new", "new", "--recipe", "add-not-null", "--set", f"table={table}", "--set", "column=nope"
    )
    assert len(document["notes"]) == 1
    assert "did you mean orders?" in document["notes"][0] or more


def test_a_waiting_file_is_never_written_over(shop):
    """The same change again is refused while its contract file waits, and no migration is written."""
    shop.ok("new", "new", "x", "--recipe", "rename-column", *SET)
    before = sorted(shop.root.rglob("*"))
    assert (
        "is there already"
        in shop.json("new", "x", "--recipe", "rename-column", *SET).error("USAGE")["message"]
    )
    assert sorted(shop.root.rglob("*")) == before


def test_promote_dates_and_moves(shop):
    """The file gets a revision above every other, is in the ledger, and waits no more; again is refused."""
    newest = shop.write("future", "CREATE TABLE later (id bigint PRIMARY KEY);\n", FIRST * 2)
    _wait(shop, "drop_orders")
    document = shop.ok("promote", "promote", "drop_orders")
    assert document["revision"] == f"{int(newest) + 1:013d}"
    assert (shop.root / document["file"]).read_text() == DROP
    assert not (shop.root / document["waited"]).exists()
    assert shop.ok("check", "check")["files"] == 3
    assert "promoted already" in shop.json("promote", "drop_orders").error("USAGE")["message"]


def test_a_configured_contract_directory(shop):
    """migrations.contract_directory says where files wait; an empty one is a wrong configuration."""
    shop.configure("[migrations]\ncontract_directory = 'later'\n")
    shop.ok("new", "new", "x", "--recipe", "drop-table", "--set", "table=orders")
    assert (shop.root / "later/x.sql").is_file()
    assert shop.text("promote", "x").code == 0
    shop.configure("[migrations]\ncontract_directory = ''\n")
    assert "contract_directory" in shop.json("check").error("CONFIG")["message"]


@pytest.mark.parametrize("name", ["nothing", "../contract/x", "x.sql", "X", "", "x\n"])
def test_promote_refuses_what_does_not_wait(shop, name):
    """A name that is no slug, or of no file, exits 2 and tells which files wait."""
    _wait(shop, "x")
    error = shop.json("promote", name).error("USAGE")
    assert error["details"]["waiting"] == ["x"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DROP TABLE orders;", "FILE_DIRECTIVE"),
        ("-- lockgate: phase=contract\n", "FILE_EMPTY"),
        ("-- lockgate: phase=contract\nDROP TABLE;", "FILE_SYNTAX"),
        ("-- lockgate: phase=contract\nCOMMIT;", "FILE_TRANSACTION_CONTROL"),
        (b"\xef\xbb\xbf" + DROP.encode(), "FILE_BOM"),
        (DROP.encode() + b"\xff", "FILE_ENCODING"),
        ("-- lockgate: phase=contract\nDROP INDEX CONCURRENTLY i;", "FILE_NEEDS_TRANSACTION_OFF"),
    ],
)
def test_promote_refuses_a_file_that_breaks_the_contract(shop, text, code):
    """A broken file stays where it waits, and ledger and migrations stay as they were."""
    _wait(shop, "x", text)
    before = {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()}
    with pytest.raises(CheckFailed) as caught:
        promote(Settings(root=shop.root), "x")
    assert code in str(caught.value.details)
    assert {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()} == before


def test_promote_refuses_links_and_folders(shop):
    """A symbolic link or a folder of that name is no waiting file."""
    _wait(shop, "x")
    folder = shop.root / "db" / "contract"
    (folder / "link.sql").symlink_to(folder / "x.sql")
    (folder / "folder.sql").mkdir()
    for name, code in (("link", "FILE_SYMLINK"), ("folder", "FILE_TYPE")):
        with pytest.raises(CheckFailed) as caught:
            promote(Settings(root=shop.root), name)
        assert code in str(caught.value.details)


VIEW = "CREATE VIEW noted AS SELECT id, note FROM orders;\n"


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        ("rename-column", ("column=note", "to=remark", "type=text")),
        ("change-type", ("column=note", "from=text", "type=integer", "to=number", "forward={value}::integer", "backward={value}::text")),
        ("drop-column", ("column=note",)),
        ("drop-table", ()),
    ],
)  # fmt: skip
def test_views_of_what_goes_are_told(shop, recipe, values):
    """A view that uses what the contract file drops is a note of the recipe and of promote; one that uses other columns is not."""
    shop.write("view", VIEW + "CREATE VIEW ids AS SELECT id FROM orders;\n")
    given = [part for value in ("table=orders", *values) for part in ("--set", value)]
    told = shop.ok("new", "new", "x", "--recipe", recipe, *given)["notes"]
    wanted = ["noted", "ids"] if recipe == "drop-table" else ["noted"]
    what = "orders" if recipe == "drop-table" else "orders.note"
    assert [note.split(" and ")[0] for note in told] == [f"the view {name} uses {what}" for name in wanted]
    assert all("before you promote" in note for note in told)
    names = sorted(path.stem for path in (shop.root / "db/contract").glob("*.sql"))
    notes = [note for name in names for note in shop.ok("promote", "promote", name)["notes"]]
    assert [note.split(" and ")[0] for note in notes] == [f"the view {name} uses {what}" for name in wanted]


@pytest.mark.parametrize("recipe", [("rename-column", "to=remark", "type=text"), ("drop-column",)])
def test_a_check_that_goes_is_told(shop, recipe):
    """A CHECK over several columns that the contract file drops without a word is a note of the recipe and of promote, and a finding then."""
    shop.write("check", "ALTER TABLE orders ADD CONSTRAINT whole CHECK (id > 0 AND note <> '') NOT VALID;\n")
    given = ["table=orders", "column=note", *recipe[1:]]
    made = shop.ok("new", "new", "x", "--recipe", recipe[0], *(p for one in given for p in ("--set", one)))
    assert "the CHECK whole of orders goes with orders.note" in made["notes"][0]
    assert "the CHECK whole" in shop.ok("promote", "promote", "x")["notes"][0]
    findings = shop.json("check").document("check")["findings"]
    assert [f["id"] for f in findings].count("col-drop-check-lost") == 1


@pytest.mark.postgres("18")
def test_what_promote_tells_is_what_works(shop, database):
    """What is written into the promoted file as the note says is taken by check and by up; a file that does so by itself gets no note."""
    shop.environ["DATABASE_URL"] = database
    shop.write("view", VIEW)
    shop.ok("up", "up")
    drop = "-- lockgate: phase=contract\nALTER TABLE orders DROP COLUMN note;\n"
    _wait(shop, "x", drop)
    answer = shop.json("promote", "x")
    document = answer.document("promote")
    (note,) = document["notes"]
    file = shop.root / document["file"]
    assert f"write into {file.name}" in note
    assert "DROP VIEW noted and CREATE VIEW anew without it; then lockgate check --write-ledger" in note
    assert f"note: {note}" in answer.err
    assert any(f["id"] == "col-drop-dependents" for f in shop.json("check").document("check")["findings"])
    anew = drop.replace("ALTER", "DROP VIEW noted;\nCREATE VIEW noted AS SELECT id FROM orders;\nALTER")
    file.write_text(anew)
    checked = shop.json("check", "--write-ledger").document("check")
    assert not [f for f in checked["findings"] if f["id"] == "col-drop-dependents"]
    shop.ok("up", "up")


def test_a_contract_file_that_sees_to_its_views_gets_no_note(shop):
    """Where the waiting file itself drops the view before the column, promote has nothing to tell."""
    shop.write("view", VIEW)
    _wait(shop, "x", "-- lockgate: phase=contract\nDROP VIEW noted;\nALTER TABLE orders DROP COLUMN note;\n")
    assert shop.ok("promote", "promote", "x")["notes"] == []


def test_parts_are_promoted_in_their_order(shop):
    """The second part of a change is refused while the first one waits."""
    _wait(shop, "x_2_drop")
    _wait(shop, "x_1_unsync")
    with pytest.raises(ConfigError, match="x_1_unsync goes before x_2_drop"):
        promote(Settings(root=shop.root), "x_2_drop")
    first = promote(Settings(root=shop.root), "x_1_unsync")
    assert promote(Settings(root=shop.root), "x_2_drop").revision > first.revision


def test_a_broken_ledger_stops_promotion(shop):
    """With a ledger that cannot be read nothing is moved."""
    _wait(shop, "x")
    (shop.directory / "checksums.json").write_text("{")
    with pytest.raises(ConfigError):
        promote(Settings(root=shop.root), "x")
    assert [p.name for p in (shop.root / "db" / "contract").iterdir()] == ["x.sql"]


def test_a_ledger_that_cannot_be_written_undoes_the_move(shop, monkeypatch):
    """When the entry fails, the file is back where it waited."""

    def fail(directory, name):
        raise OSError(28, "no space left")

    _wait(shop, "x")
    monkeypatch.setattr("lockgate.release.promote.add_to_ledger", fail)
    with pytest.raises(OSError, match="no space"):
        promote(Settings(root=shop.root), "x")
    assert [p.name for p in (shop.root / "db" / "contract").iterdir()] == ["x.sql"]
    assert len(list(shop.directory.glob("*.sql"))) == 1


EVENTS = """CREATE TABLE events (id bigint NOT NULL, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
"""


@pytest.mark.postgres("18")
@pytest.mark.parametrize("unique", ["no", "yes"])
def test_an_index_of_a_partitioned_table_is_made_part_by_part(shop, database, unique):
    """Check has nothing to refuse, up applies the files, and the index of the whole is valid."""
    shop.environ["DATABASE_URL"] = database
    shop.write("events", EVENTS)
    call = [
        "--recipe",
        "add-index",
        "--set",
        "table=events",
        "--set",
        "columns=at,id",
        "--set",
        f"unique={unique}",
    ]
    assert len(shop.ok("new", "new", *call)["files"]) == 4
    assert shop.text("check").code == 0
    assert shop.text("up").code == 0
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'events_at_id_idx'::regclass"
        ).fetchall()
    assert found == [(True,)]


@pytest.mark.parametrize(
    ("recipe", "values", "told"),
    [
        ("add-unique", {"columns": "id,at"}, "add-index with unique=yes"),
        ("add-index", {"columns": "id", "unique": "yes"}, "divided by: at"),
        ("add-foreign-key", {"column": "id", "references": "orders"}, "add-index first"),
    ],
)
def test_what_a_partitioned_table_cannot_have_is_refused(shop, recipe, values, told):
    """The refusal says what to follow in its place, and nothing is written."""
    shop.write("events", EVENTS)
    before = sorted(shop.root.rglob("*"))
    given = [
        word for key, value in {"table": "events", **values}.items() for word in ("--set", f"{key}={value}")
    ]
    assert told in shop.json("new", "--recipe", recipe, *given).error("USAGE")["message"]
    assert sorted(shop.root.rglob("*")) == before


@pytest.mark.postgres("18")
def test_a_recipe_goes_through_up(shop, database):
    """A whole sequence, promoted, is applied by `lockgate up`."""
    shop.environ["DATABASE_URL"] = database
    shop.ok("new", "new", "x", "--recipe", "add-unique", "--set", "table=orders", "--set", "columns=note")
    shop.ok("new", "new", "y", "--recipe", "drop-table", "--set", "table=orders")
    assert shop.text("up").code == 0
    shop.ok("promote", "promote", "y")
    assert shop.text("up").code == 0
    assert len(shop.ok("status", "status")["applied"]) == 4
