"""Gold sets and run files as they come: both formats are read, every wrong join and malformed line is refused by its place."""

import json
import random
from pathlib import Path

import pytest

from indexes import lab
from lockgate.indexes.drift import compare
from lockgate.indexes.gold import GoldError, read_gold
from lockgate.indexes.limits import LIKE_FOR_LIKE, TABLE, Limits, choose
from lockgate.indexes.runs import RunError, join, read_run
from lockgate.record.verdict import Verdict
from support.calls import Project

SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "gold"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a gold set and its runs in both formats."""
    root = tmp_path_factory.mktemp("runs")
    c = lab.topical(21, 120, 30, dim=64)
    c.write(root / "gold")
    run = lab.exact(c, 10)
    (root / "a.jsonl").write_text(
        "".join(
            json.dumps({"qid": q, "hits": [{"id": h.id, "score": h.score} for h in hits]}) + "\n"
            for q, hits in run.hits.items()
        )
    )
    lines = [
        f"{q} Q0 {h.id} {n} {h.score!r} tag" for q, hits in run.hits.items() for n, h in enumerate(hits, 1)
    ]
    random.Random(1).shuffle(lines)
    (root / "a.trec").write_text("\n".join(lines) + "\n")
    distances = [
        f"{q} Q0 {h.id} {n} {1 - h.score!r} tag"
        for q, hits in run.hits.items()
        for n, h in enumerate(hits, 1)
    ]
    (root / "d.trec").write_text("\n".join(distances) + "\n")
    vectors, ids = lab.without(c, 0.25, 1)
    worse = lab.exact(c, 10, vectors=vectors, ids=ids)
    (root / "worse.trec").write_text(
        "".join(
            f"{q} Q0 {h.id} {n} {h.score:.6f} t\n"
            for q, hits in worse.hits.items()
            for n, h in enumerate(hits, 1)
        )
    )
    return root


def test_both_formats_are_one_run(made):
    """TREC lines in any order and JSON lines give the same run; distances are turned round."""
    one, other, turned = (read_run(made / name) for name in ("a.jsonl", "a.trec", "d.trec"))
    assert one.hits == other.hits
    assert turned.distances
    assert {q: [h.id for h in hits] for q, hits in turned.hits.items()} == {
        q: [h.id for h in hits] for q, hits in one.hits.items()
    }


def test_ties_are_broken_the_same_way(tmp_path):
    """Equal scores stand in the order of their ids, whatever the file's order is."""
    (tmp_path / "r").write_text(
        '{"qid": "q", "hits": [{"id": "b", "score": 1}, {"id": "c", "score": 2}, {"id": "a", "score": 1}]}\n'
    )
    assert [h.id for h in read_run(tmp_path / "r").hits["q"]] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        ("q1 Q0 d1 1 0.5\n", ":1: 5 columns"),
        ("q1 Q0 d1 1 0.5 t\nq1 Q0 d2 two 0.5 t\n", ":2: rank 'two'"),
        ('{"qid": "q1"}\n', ":1: not"),
        ('{"qid": "q1", "hits": [{"score": 1}]}\n', r"hits\[0\].id"),
        ('{"qid": "q1", "hits": [{"id": "a", "score": "high"}]}\n', r"hits\[0\].score"),
        ('{"qid": "q1", "hits": []}\n{"qid": "q1", "hits": []}\n', ":2: query 'q1' stands there twice"),
        ('{"qid": "q1", "hits": []}\n{broken\n', ":2: not JSON"),
    ],
)
def test_a_malformed_run_is_refused(tmp_path, text, word):
    """The error names the file, the line and the field."""
    (tmp_path / "run").write_text(text)
    with pytest.raises(RunError, match=word):
        read_run(tmp_path / "run")


def edited(tmp_path: Path, name: str, change) -> Path:
    """A copy of the shipped gold set with one file changed."""
    for path in SHIPPED.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / name
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text()))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("corpus.jsonl", None, "corpus.jsonl: there is no such file"),
        ("qrels.tsv", None, "qrels.tsv: there is no such file"),
        ("corpus.jsonl", lambda t: t + t.splitlines()[0] + "\n", "stands there twice"),
        ("corpus.jsonl", lambda t: t + "{\n", ":91: not JSON"),
        ("corpus.jsonl", lambda t: t + '{"text": "x"}\n', ":91: `_id` is missing"),
        ("corpus.jsonl", lambda t: "", "holds no document"),
        ("queries.jsonl", lambda t: t + '{"_id": "x", "text": ""}\n', ":31: `text` is not a text"),
        ("queries.jsonl", lambda t: t + '{"_id": "x", "text": "y", "paraphrases": "z"}\n', ":31: `paraphrases`"),
        ("queries.jsonl", lambda t: t + '{"_id": "x", "text": "y", "paraphrase_of": "zz"}\n', "'zz', which is no query"),
        ("qrels.tsv", lambda t: t + "q99\trefund-how\t1\n", r":92: query 'q99' is not in queries.jsonl"),
        ("qrels.tsv", lambda t: t + "q01\tnowhere\t1\n", r":92: document 'nowhere' is not in corpus.jsonl"),
        ("qrels.tsv", lambda t: t + "q01\trefund-how\tgood\n", "'good' is not a whole number"),
        ("qrels.tsv", lambda t: t + "q01\trefund-how\t1\n", "judged twice, with two grades"),
        ("qrels.tsv", lambda t: t + "q01#1\trefund-how\t1\n", "is a paraphrase"),
        ("qrels.tsv", lambda t: t + "q01 refund-how\n", "2 columns"),
    ],
)  # fmt: skip
def test_a_wrong_join_is_refused(tmp_path, name, change, word):
    """Missing files, doubled ids, judgements of other queries or documents: each is an error that names its place."""
    with pytest.raises(GoldError, match=word):
        read_gold(edited(tmp_path, name, change))


def test_layouts_and_digest(tmp_path):
    """TREC's four columns read like three; the digest changes with one grade and not with the order of the lines."""
    before = read_gold(SHIPPED)
    lines = (SHIPPED / "qrels.tsv").read_text().splitlines()[1:]
    trec = [f"{q} 0 {d} {g}" for q, d, g in (line.split("\t") for line in reversed(lines))]
    after = read_gold(edited(tmp_path, "qrels.tsv", lambda t: "\n".join(trec) + "\n"))
    assert after.judgements == before.judgements
    assert after.digest == before.digest
    changed = read_gold(
        edited(
            tmp_path, "qrels.tsv", lambda t: "\n".join([*lines[1:], lines[0].replace("\t3", "\t2")]) + "\n"
        )
    )
    assert changed.digest != before.digest


def test_runs_have_to_join(made):
    """Unknown documents, unknown queries, missing queries on either side: each is refused, and nothing is measured."""
    gold, run = read_gold(made / "gold"), read_run(made / "a.trec")
    hits = dict(run.hits)

    def other(**changes):
        return run.__class__(name="other", hits={**hits, **changes})

    join(gold, run, run)
    with pytest.raises(RunError, match="document ids"):
        join(gold, run, other(q0=(hits["q0"][0]._replace(id="nowhere"),)))
    with pytest.raises(RunError, match="'q99' of its 31 queries is not in the gold set"):
        join(gold, run, other(q99=hits["q0"]))
    short = run.__class__(name="short", hits={q: h for q, h in hits.items() if q != "q7"})
    for pair in ((run, short), (short, run), (short, short)):
        with pytest.raises(RunError, match="'q7'"):
            join(gold, *pair)


def test_paraphrases_count_for_lambda(tmp_path):
    """A gold set with paraphrases whose runs lack them holds lambda; with them a paraphrase that lost its answer shows as a split."""
    gold = read_gold(SHIPPED)
    from indexes.test_drift_defects import shipped

    full = lab.exact(shipped(), 10)
    only = full.__class__(name="only", hits={q: h for q, h in full.hits.items() if "#" not in q})
    drift = compare(gold, [only], [only], LIKE_FOR_LIKE)
    assert next(c for c in drift.checks if c.id == "lambda").answer is Verdict.HOLD
    assert drift.verdict is Verdict.HOLD
    assert compare(gold, [full], [full], LIKE_FOR_LIKE).verdict is Verdict.PASS
    bent = {q: (tuple(reversed(h)) if q.endswith("#1") else h) for q, h in full.hits.items()}
    lists = {q: [(hit.id, -n) for n, hit in enumerate(h)] for q, h in bent.items()}
    lists |= {
        q: [*pairs[3:], ("stock-how", -20), ("audit-how", -21), ("gift-how", -22)]
        for q, pairs in lists.items()
        if q.endswith("#1")
    }
    from lockgate.indexes.runs import make_run

    split = compare(
        gold, [full], [make_run("bent", {q: list(dict(p).items()) for q, p in lists.items()})], LIKE_FOR_LIKE
    )
    assert split.spread.states["convergent"] < 30


def test_every_limit_is_named_and_cited():
    """Each limit has a meaning and a source, can be set by its name, and a wrong name or value is refused."""
    assert set(TABLE) == set(Limits.__struct_fields__) - {"profile"}
    assert all(row.meaning and row.source for row in TABLE.values())
    assert choose("like-for-like", {"ndcg-drop": "0.5"}, 3).ndcg_drop == 0.5
    assert choose("like-for-like", {}, 3).k == 3
    for changes in ({"nope": "1"}, {"rbo": "x"}, {"rbo": "-1"}, {"k": "1.5"}, {"k": "0"}):
        with pytest.raises(Exception, match="limit"):
            choose("model-change", changes)


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def test_the_command_and_its_exit_codes(made, project):
    """`lockgate drift` as other programs call it: 0 pass, 1 fail, 5 hold, 2 bad input; one valid document each time."""
    gold = ["--gold", str(made / "gold"), "--baseline", str(made / "a.trec")]
    done = project.json("drift", *gold, "--candidate", str(made / "a.jsonl"))
    assert done.code == 0, done
    document = done.document("drift")
    assert document["verdict"] == "pass"
    assert document["reasonCode"] == ""
    assert document["worst"] == []
    done = project.json("drift", *gold, "--candidate", str(made / "worse.trec"), "--html", "out/drift.html")
    assert done.code == 1
    document = done.document("drift")
    assert document["reasonCode"] == "INDEX_DRIFT"
    assert document["causes"][0]["cause"] == "documents-missing"
    assert document["worst"][0]["baseline"]
    assert document["worst"][0]["candidate"]
    assert all({"id", "value", "limit", "answer"} <= set(c) for c in document["checks"])
    assert "documents-missing" in (project.root / "out" / "drift.html").read_text()
    done = project.json("drift", *gold, "--candidate", str(made / "a.trec"), "--limit", "min-queries=200")
    assert done.code == 5
    assert done.document("drift")["reasonCode"] == "INDEX_HELD"
    assert project.text("drift", *gold, "--candidate", str(made / "worse.trec")).out.endswith(
        "verdict: fail INDEX_DRIFT\n"
    )
    for arguments, code in (
        (["--candidate", "nowhere"], "RUN_FILE"),
        (["--candidate", str(made / "a.trec"), "--limit", "x"], "USAGE"),
        (["--candidate", str(made / "a.trec"), "--limit", "x=1"], "USAGE"),
        (["--candidate", str(made / "a.trec"), "--k", "0"], "USAGE"),
    ):
        done = project.json("drift", *gold, *arguments)
        assert done.code == 2
        done.error(code)
    done = project.json(
        "drift", "--gold", str(made), "--baseline", str(made / "a.trec"), "--candidate", str(made / "a.trec")
    )
    assert done.code == 2
    done.error("GOLD_SET")


def test_drift_needs_no_numpy(made, project):
    """The gate runs where only lockgate itself is installed: no numpy, no driver of a database is imported."""
    import subprocess
    import sys

    program = (
        "import sys\nfor name in ('numpy', 'psycopg', 'postgast', 'faiss', 'httpx'): sys.modules[name] = None\n"
        "from lockgate.cli.main import app\n"
        f"app(['drift', '--gold', {str(made / 'gold')!r}, '--baseline', {str(made / 'a.trec')!r}, '--candidate', {str(made / 'a.jsonl')!r}], standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=project.root, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "verdict: pass" in done.stdout


def test_gold_lint(project, tmp_path):
    """lint passes the shipped set and prints its digest; a changed set, few queries and doubled texts are errors with exit code 1."""
    done = project.json("gold", "lint", str(SHIPPED))
    assert done.code == 0, done
    digest = done.document("gold")["digest"]
    assert digest == read_gold(SHIPPED).digest
    assert project.json("gold", "lint", str(SHIPPED), "--frozen", digest).code == 0
    done = project.json("gold", "lint", str(SHIPPED), "--frozen", "0" * 64)
    assert done.code == 1
    assert done.document("gold")["findings"][0]["id"] == "frozen"
    (tmp_path / "few").mkdir()
    small = edited(tmp_path / "few", "qrels.tsv", lambda t: "\n".join(t.splitlines()[:10]) + "\n")
    found = {
        f["id"]: f["severity"] for f in project.json("gold", "lint", str(small)).document("gold")["findings"]
    }
    assert found["few-queries"] == "error"
    assert found["no-relevant"] == "warning"
    (tmp_path / "same").mkdir()
    same = edited(
        tmp_path / "same",
        "queries.jsonl",
        lambda t: t + '{{"_id": "x", "text": "{}"}}\n'.format(json.loads(t.splitlines()[0])["text"].upper()),
    )
    assert "same-text" in {
        f["id"] for f in project.json("gold", "lint", str(same)).document("gold")["findings"]
    }
    project.json("gold", "lint", str(tmp_path / "nowhere")).error("GOLD_SET")


def test_gold_sample(project, tmp_path):
    """sample drafts a set that can be read: the most asked queries and others, each text once, with documents to judge."""
    log = tmp_path / "queries.log"
    asked = (
        ["how do I return a parcel"] * 5
        + ["How do I  return a parcel"]
        + [json.dumps({"query": f"question number {n}"}) for n in range(40)]
    )
    log.write_text("\n".join(asked) + "\n")
    call = (
        "gold",
        "sample",
        "--log",
        str(log),
        "--corpus",
        str(SHIPPED / "corpus.jsonl"),
        "--out",
        "draft",
        "--count",
        "12",
    )
    assert project.ok("gold", *call)["queries"] == 12
    rows = [json.loads(line) for line in (project.root / "draft" / "queries.jsonl").read_text().splitlines()]
    assert rows[0]["text"] == "how do I return a parcel"
    assert rows[0]["metadata"]["asked"] == 6
    assert len({r["text"] for r in rows}) == 12
    assert "q1\treturn-" in (project.root / "draft" / "qrels.tsv").read_text()
    assert len(read_gold(project.root / "draft").judgements) == 12
    assert project.json(*call).code == 2
    project.json(*call[:2], "--log", "nowhere", *call[4:]).error("GOLD_SET")
