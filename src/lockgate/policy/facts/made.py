"""CREATE TABLE AS: a query that is run, and may write inside WITH, before there is a table."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.queries import parsed, planned
from lockgate.policy.facts.routines import run_calls
from lockgate.policy.facts.writes import come_in, go_on
from lockgate.postgres.tree import words as w


def create_table_as(draft: Draft, word: w.CreateTableAs) -> None:
    """The query is planned and run; WITH NO DATA only parses it."""
    draft.facts.kind = "CREATE MATERIALIZED VIEW" if word.materialized else "CREATE TABLE AS"
    if word.if_not_exists and draft.schema.new_key(word.name, word.persistence) in draft.schema.relations:
        parsed(draft, word.query.accesses)
        return
    if word.with_data:
        come_in(draft, word.query, runs=True)
        planned(draft, word.query.accesses)
        go_on(draft, word.query)
        run_calls(draft, word.query)
    else:
        parsed(draft, word.query.accesses)
    draft.see(f"{draft.schema.new_key(word.name, word.persistence)} exists")
