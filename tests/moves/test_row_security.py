"""Row level security across a switch: what was hidden before it is hidden after it, or the move does not begin."""

from collections.abc import Iterator

import psycopg
import pytest

from lockgate.errors import Refused
from lockgate.moves.declaration import TargetSide
from lockgate.moves.opened import Where
from lockgate.postgres.moves.create import renamed
from lockgate.postgres.target import Target
from moves.hand import Hand
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def reader(database: str) -> Iterator[str]:
    """A role that sees the even rows of ``item`` only, 50 of 100."""
    role = f"reader_{database.rpartition('_')[2]}"
    run_sql(
        database,
        f"CREATE ROLE {role}",
        "CREATE TABLE seen (item bigint PRIMARY KEY)",
        "INSERT INTO seen SELECT g FROM generate_series(2, 100, 2) g",
        "CREATE TABLE item (id bigint PRIMARY KEY, v text)",
        "INSERT INTO item SELECT g, 'v' FROM generate_series(1, 100) g",
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY even ON item FOR SELECT TO {role} USING (EXISTS (SELECT FROM seen WHERE seen.item = item.id))",
        f"GRANT SELECT ON item, seen TO {role}",
    )
    try:
        yield role
    finally:
        run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def _count(url: str, role: str) -> int:
    with psycopg.connect(url) as connection:
        connection.execute(f"SET ROLE {role}")
        (row,) = connection.execute("SELECT count(*) FROM item").fetchall()
        return int(row[0])


def test_a_created_target_hides_the_same_rows(database: str, reader: str):
    """Flags and policies, with subqueries that name the table's columns, are made with the target: a reader sees 50 rows before and after the switch, and after the rollback."""
    hand = Hand(database)
    assert hand.plan().problems == []
    assert _count(database, reader) == 50
    hand.there()
    hand.cutover()
    assert hand.serving() == "target"
    assert _count(database, reader) == 50
    hand.rollback()
    assert _count(database, reader) == 50


def test_a_given_target_without_them_is_refused(database: str, reader: str):
    """A target that a migration made without row level security, or without the policy, is a problem of the plan with what to do; taken knowingly it is a note."""
    run_sql(database, "CREATE TABLE item_new (id bigint PRIMARY KEY, v text)")
    (problem,) = Hand(database, to=TargetSide("item_new")).plan().problems
    assert "row level security is enabled for item and not for item_new" in problem["what"]
    assert "has not the policies even of item" in problem["what"]
    assert problem["kind"] == "policies"
    taken = Hand(database, to=TargetSide("item_new"), accept=("policies",)).plan()
    assert taken.problems == []
    assert any("accepted (policies)" in note for note in taken.notes)
    run_sql(database, "ALTER TABLE item_new ENABLE ROW LEVEL SECURITY")
    (problem,) = Hand(database, to=TargetSide("item_new")).plan().problems
    assert "enabled" not in problem["what"]
    run_sql(database, f"CREATE POLICY even ON item_new FOR SELECT TO {reader} USING (EXISTS (SELECT FROM seen WHERE seen.item = item_new.id))")  # fmt: skip
    assert Hand(database, to=TargetSide("item_new")).plan().problems == []


def test_a_policy_of_later_is_found_by_the_cutover(database: str, reader: str):
    """A policy that the source got while the move ran keeps the cutover shut until the target has it too."""
    hand = Hand(database)
    hand.there()
    run_sql(database, f"CREATE POLICY more ON item AS RESTRICTIVE TO {reader} USING (id < 50)")
    with pytest.raises(Refused) as caught:
        hand.cutover()
    assert caught.value.code == "MOVE_REFUSED"
    assert "has not the policies more of item" in caught.value.message
    assert hand.serving() == "source"
    run_sql(database, f"CREATE POLICY more ON item_new AS RESTRICTIVE TO {reader} USING (id < 50)")
    hand.cutover()
    assert _count(database, reader) == 24


def test_forced_on_its_owner(database: str, reader: str):
    """FORCE hides nothing from a superuser, who may move the table, and the created one is forced too; the owner itself is refused."""
    run_sql(database, "ALTER TABLE item FORCE ROW LEVEL SECURITY")
    assert Hand(database).plan().problems == []
    run_sql(database, f"ALTER ROLE {reader} LOGIN", f"ALTER TABLE item OWNER TO {reader}", f"GRANT CREATE, USAGE ON SCHEMA public TO {reader}", f"GRANT USAGE ON SCHEMA lockgate TO {reader}", f"GRANT SELECT ON ALL TABLES IN SCHEMA lockgate TO {reader}")  # fmt: skip
    hand = Hand(database)
    hand.places = Where(Target(database.replace("postgres@", f"{reader}@"), source="test"), None)
    assert any("row level security in force for this role" in p["what"] for p in hand.plan().problems)
    hand = Hand(database)
    hand.there()
    assert run_sql(database, "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'item_new'") == [(True, True)]  # fmt: skip


def test_into_another_database(database: str, databases, reader: str):
    """The policy goes into the other database with the table: the reader sees 50 rows there."""
    other = databases()
    run_sql(database, "DROP POLICY even ON item", f"CREATE POLICY even ON item TO {reader} USING (id % 2 = 0)")  # fmt: skip
    hand = Hand(database, other)
    assert hand.plan().problems == []
    hand.there()
    hand.cutover()
    run_sql(other, f"GRANT SELECT ON item TO {reader}")
    assert _count(other, reader) == 50
    run_sql(other, f"DROP OWNED BY {reader}")


def test_the_name_of_the_table_inside_a_policy():
    """Only the qualifier is exchanged: not a longer name, another table's column, or a schema."""
    assert renamed("(item.id = x_item.id AND a.item.id > 1 AND 'item.id' <> v)", "item", "item_new") == "(\"item_new\".id = x_item.id AND a.item.id > 1 AND 'item.id' <> v)"  # fmt: skip
    assert renamed('"My t".id', "My t", "") == "id"
