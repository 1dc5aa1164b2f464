"""The checker itself: each invariant is broken by hand, and the checker has to say so."""

import pytest

from faults import invariants, look
from faults.drive import CANARY, Ended, Project
from faults.look import execute
from faults.shapes import SHAPES, Shape

pytestmark = look.SERVERS

FREE = "ALTER TABLE lockgate.migration_history DISABLE TRIGGER USER;"
DAMAGE = {
    "I1 half there": ("two files", "DROP TABLE public.second"),
    "I1 invalid index": (
        "two files",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.orders_old'::regclass",
    ),
    "I1 journalled and not there": ("concurrent", "DROP INDEX public.orders_customer"),
    "I2 effects without history": (
        "two files",
        f"{FREE} DELETE FROM lockgate.migration_history WHERE ordinal = 2;"
        " UPDATE lockgate.fence SET ordinal = 1, head = (SELECT row_hash FROM lockgate.migration_history)",
    ),
    "I3 a row changed": (
        "two files",
        f"{FREE} UPDATE lockgate.migration_history SET operator = 'x' WHERE ordinal = 1",
    ),
    "I3 the last row deleted": (
        "two files",
        f"{FREE} DELETE FROM lockgate.migration_history WHERE ordinal = 2",
    ),
    "I3 another head": ("two files", "UPDATE lockgate.fence SET head = 'x'"),
    "I4 done twice": ("two files", "INSERT INTO public.effects SELECT * FROM public.effects LIMIT 1"),
    "I5 running for ever": ("two files", "UPDATE lockgate.run SET state = 'running'"),
    "I8 the password in a table": ("two files", f"UPDATE lockgate.run SET message = 'at {CANARY}@host'"),
    "I9 another floor": ("contract", "UPDATE lockgate.fence SET compat_floor = '1'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_checker_sees_the_damage(url: str, project: Project, damage: str) -> None:
    """A database that breaks an invariant is never taken for a sound one."""
    name, statements = DAMAGE[damage]
    shape = SHAPES[name]
    project.write(*shape.files)
    ended = project.run(url)
    invariants.after_rerun(url, shape, ended)
    execute(url, statements)
    with pytest.raises(AssertionError, match=damage.split()[0]):
        invariants.after_rerun(url, shape, ended)


GOOD = '{"status": "pass", "reasonCode": "", "applied": []}'
LIES = {
    "exit 0 and nothing applied": Ended(0, GOOD, ""),
    "failed and says passed": Ended(3, GOOD, ""),
    "applied what is not there": Ended(
        3, '{"status": "fail", "reasonCode": "BUG", "next": "x", "applied": [{"revision": "1"}]}', "BUG:"
    ),
    "another exit code than its reason's": Ended(
        3, '{"status": "fail", "reasonCode": "LOCK_BUSY", "next": "x", "applied": []}', "LOCK_BUSY:"
    ),
    "no document": Ended(3, "", ""),
    "no next command": Ended(
        75, '{"status": "fail", "reasonCode": "LOCK_BUSY", "next": "", "applied": []}', "LOCK_BUSY:"
    ),
    "the password on stderr": Ended(-9, "", f"connecting with {CANARY}"),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_checker_sees_the_lie(url: str, lie: str) -> None:
    """An exit code or a report that does not agree with the database is never taken for a good one."""
    shape: Shape = SHAPES["small"]
    with pytest.raises(AssertionError, match=r"I[678]"):
        invariants.after_fault(url, shape, LIES[lie])
