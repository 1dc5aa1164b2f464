"""Secrets in any dress are masked; texts without them pass untouched."""

import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.postgres.target import Target
from lockgate.record import redact as module
from lockgate.record.redact import MASK, redact, redact_value, remember

CANARY = "C4n4ryB1rd"
FEW = settings(deadline=None, max_examples=150)
_edges = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs", "Cc"]), max_size=6
)
passwords = st.builds(lambda a, b: f"{a}{CANARY}{b}", _edges, _edges)
"""Passwords of any characters around the canary, which has to be gone wherever they stand."""
_around = st.sampled_from(["", " ", "\n", "(", "error: ", "caf\u00e9 ", "'", '"', "{", "x", "=", "@", "://"])


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch):
    """Each test begins with a process that knows no secret."""
    monkeypatch.setattr(module, "_known", set())
    monkeypatch.setattr(module, "_weak", set())


def every_percent(text: str) -> str:
    """``text`` with each byte percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


FORMS = {
    "plain": lambda p: p,
    "percent": lambda p: quote(p, safe=""),
    "percent of paths": quote,
    "percent of forms": quote_plus,
    "lower-case percent": lambda p: quote(p, safe="").replace("%2F", "%2f").replace("%3A", "%3a"),
    "SQL": lambda p: p.replace("'", "''"),
    "conninfo": lambda p: p.replace("\\", "\\\\").replace("'", "\\'"),
    "repr": repr,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda p: json.dumps(p, ensure_ascii=False),
    "HTML": html.escape,
}


@FEW
@given(passwords, st.sampled_from(sorted(FORMS)), _around, _around)
def test_a_known_password_never_shows(password: str, form: str, before: str, after: str):
    """A password that this process uses is masked in every form of quoting, whatever stands around it."""
    remember(password)
    shown = redact(before + FORMS[form](password) + after)
    assert CANARY not in shown
    assert MASK in shown


@FEW
@given(passwords.filter(lambda p: p == p.strip()))
def test_a_url_teaches_its_password(password: str):
    """Making a target is enough: its password is masked in whatever is printed later, and no view of the target shows it."""
    target = Target(f"postgresql://u:{every_percent(password)}@h.example:5432/db", source="DATABASE_URL")
    assert target.parameters()["password"] == password
    for text in (
        str(target),
        repr(target),
        redact(f"the server says {password}!"),
        redact(json.dumps({"a": [password]})),
    ):
        assert CANARY not in text


def shapes(p: str) -> dict[str, str]:
    """Texts that hold the password ``p`` in the shape of a secret."""
    sql, doubled = p.replace("'", "''"), json.dumps(p)
    escaped = p.replace("\\", "\\\\").replace("'", "\\'")
    return {
        "URL": f"postgresql://user:{quote(p, safe='')}@host:5432/db?sslmode=require",
        "URL, every byte encoded": f"cannot connect to postgres://user:{every_percent(p)}@[::1]/db.",
        "URL without a user": f"see postgresql://:{quote(p, safe='')}@host/db",
        "URL of another kind": f"amqps://user:{quote(p, safe='')}@host",
        "URL in JSON": json.dumps({"url": f"postgresql://user:{quote(p, safe='')}@host/db", "mail": "a@b"}),
        "two URLs": f"postgresql://a:{quote(p)}@h/d,postgresql://b:{quote(p, safe='')}@h/d",
        "query": f"postgresql://host/db?user=u&password={quote(p, safe='')}&connect_timeout=3",
        "query, encoded twice": f"next=postgresql%3A%2F%2Fhost%3Fpassword%3D{quote(quote(p, safe=''), safe='')}",
        "conninfo": f"host=h user=u password='{escaped}' dbname=d",
        "conninfo with blanks": f"host=h password = '{escaped}'",
        "SQL": f"ALTER ROLE app WITH LOGIN PASSWORD '{sql}';",
        "SQL, lower case": f"create user app encrypted password\n\t'{sql}' valid until 'infinity'",
        "SQL with a comment": f"ALTER ROLE app PASSWORD /* new */ '{sql}'",
        "SQL, escaped": f"ALTER ROLE app PASSWORD E'{p.replace(chr(92), chr(92) * 2).replace(chr(39), chr(92) + chr(39))}'",
        "SQL, dollar": f"ALTER ROLE app PASSWORD $p${p}$p$",
        "SQL, cut off": f"ALTER ROLE app PASSWORD '{sql}",
        "user mapping": f"OPTIONS (user 'u', password '{sql}')",
        "environment": f"PGPASSWORD={''.join(p.split())}",
        "assignment": f'DB_PASSWORD="{doubled[1:-1]}" make',
        "JSON": json.dumps({"user": "u", "password": p, "port": 1}),
        "JSON in JSON": json.dumps(json.dumps({"password": p.replace('"', "")})),
        "YAML": f"api_key: {doubled}",
    }


@FEW
@given(passwords)
@example(CANARY)
@example(CANARY + "\\")
@example("'" + CANARY)
def test_an_unknown_password_goes_by_its_shape(password: str):
    """URLs, connection strings, SQL and JSON are masked although this process never knew the password."""
    for name, text in shapes(password).items():
        if name == "JSON in JSON" and "\\" in password:
            continue
        assert CANARY not in redact(text), (name, text, redact(text))


@pytest.mark.parametrize(
    "text",
    [
        "EXECUTE 'ALTER ROLE app PASSWORD ''" + CANARY + "'''",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=''" + CANARY + "'''",
        "Authorization: Bearer " + CANARY + ".x.y",
        "authorization: basic " + CANARY + "==",
        "postgresql://u:it's" + CANARY + "@h/db",
        "postgresql://u:a/b?c#" + CANARY + "@h:1/db",
        "client_secret=" + CANARY + ",more);",
        "sslpassword=" + CANARY,
        "postgresql:/u:" + CANARY + "@h/db: there is no such file",
        "x-api-key: " + CANARY,
        "pw=" + CANARY,
        "https://h/login?pw=" + CANARY + "&x=1",
        "DB_PW: " + CANARY,
    ],
)
def test_odd_shapes(text: str):
    """Nested literals, headers, and URLs that are not quite right."""
    assert CANARY not in redact(text)
    assert MASK in redact(text)


@FEW
@given(st.text(st.characters(codec="utf-8", exclude_characters="=:'\"$"), max_size=80))
@example("password authentication failed for user")
@example("0 applied, 3 pending; next - lockgate up")
@example("permission denied for schema public")
def test_texts_without_a_secret_pass_untouched(text: str):
    """What has no secret's shape comes out as it went in."""
    if "basic" not in text.lower() and "bearer" not in text.lower():
        assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '1700000000001_add_token_column.sql:3: FILE_SYNTAX: syntax error at or near "tokens"',
        "postgresql://user@host:5432/db",
        "https://example.org/docs/passwords",
        "password_encryption = scram-sha-256",
        "SELECT password FROM users",
        "ALTER TABLE users ADD COLUMN secret text",
        "app on unix socket as postgres",
        "12:30:45",
        "/etc/passwd: there is no such command",
        "/run/secrets/db_password: No such file or directory",
        "httpw=1",
    ],
)
def test_texts_about_secrets_pass_untouched(text: str):
    """Words such as password or token alone mask nothing."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "text", ["kv/token: s3cr3t", "see /run/x/password: s3cr3t", '{"path":"/api_key: s3cr3t"}']
)
def test_a_name_behind_a_slash_is_a_name(text: str):
    """A value behind a name at the end of a path is a value, where no error of a file stands there."""
    assert "s3cr3t" not in redact(text)


@FEW
@given(
    passwords.filter(lambda p: not set(p) & set("'\"\\@")),
    st.sampled_from(["postgresql://u:{}@h/d", "password='{}'", "PASSWORD '{}'", "{}"]),
)
def test_masking_twice_is_masking_once(password: str, frame: str):
    """Texts pass here more than once on their way out."""
    once = redact(frame.format(password))
    assert redact(once) == once


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just(f"at {CANARY}!")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "status", CANARY, f"k {CANARY}"]), inner, max_size=3),
    ),
    max_leaves=10,
)


@FEW
@given(json_values)
def test_documents_are_masked_to_the_last_leaf(document: object):
    """Strings and keys of a document at any depth are masked; numbers, nulls and the shape stay."""
    remember(CANARY)
    shown = redact_value(document)
    assert CANARY not in json.dumps(shown)
    if isinstance(document, list):
        assert len(shown) == len(document)


def test_a_password_that_is_a_common_word():
    """The password `app` is masked as a word, and neither breaks `applied` nor the keys of a JSON document."""
    remember("app")
    assert redact("3 applied as app, happy") == f"3 applied as {MASK}, happy"
    assert redact_value({"applied": ["app"], "app": "snapped"}) == {"applied": [MASK], "app": "snapped"}
    remember("ab")
    assert redact("ab") == "ab", "two characters would mask every text"
