"""The smoke test against a real service on loopback that answers wrongly in every way it can."""

import json
from collections.abc import Callable

import pytest

from lockgate.config.release import Smoke
from lockgate.release.budget import Budget
from lockgate.release.smoke import document, smoke_service
from release.conftest import SHA
from release.stage import TOKEN, Service, rollout_toml, service, smoke_toml
from support.calls import Project, validate

HTML = {"Content-Type": "text/html; charset=utf-8"}
CASES = [
    ("all is well", {}, "", set()),
    ("health 503 for a moment", {"/health": [(503, "{}", {}), (502, "{}", {}), (200, "{}", {})]}, "", set()),
    ("health 503 for good", {"/health": [(503, "{}", {})]}, "ASSERTION", {"health-200"}),
    ("health redirected", {"/health": [(302, "", {"Location": "/login"})]}, "ASSERTION", {"health-200"}),
    ("a page instead of health", {"/health": [(200, "<!doctype html><title>x", HTML)]}, "ASSERTION", {"health-not-html"}),
    ("whoever has no token is let in", {"unauthorized": [(200, "{}", {})]}, "ASSERTION", {"protected-unauthorized-without-token"}),
    ("403 is right as well", {"unauthorized": [(403, "{}", {})]}, "", set()),
    ("404 is not", {"unauthorized": [(404, "{}", {})]}, "ASSERTION", {"protected-unauthorized-without-token"}),
    ("a redirect to a login is not", {"unauthorized": [(302, "", {"Location": "/login"})]}, "ASSERTION", {"protected-unauthorized-without-token"}),
    ("500 for a moment is tried again only when listed", {"unauthorized": [(500, "{}", {})]}, "ASSERTION", {"protected-unauthorized-without-token"}),
    ("401 until the token has come round", {"authorized": [(401, "{}", {}), (401, "{}", {}), (200, "{}", {})]}, "", set()),
    ("401 for good", {"authorized": [(401, "{}", {})]}, "ASSERTION", {"protected-authorized-status", "authorized-propagation-window"}),
    ("403 is not tried again", {"authorized": [(403, "{}", {}), (200, "{}", {})]}, "ASSERTION", {"protected-authorized-status", "authorized-propagation-window"}),
    ("an error page with 200", {"authorized": [(200, "  <HTML><body>oops", {})]}, "ASSERTION", {"authorized-not-html"}),
    ("the release before", {"/health": [(200, "{}", {"X-Release-Sha": "f" * 40})]}, "ASSERTION", {"release-sha-header"}),
    ("the release before, for a moment", {"/health": [(200, "{}", {"X-Release-Sha": "f" * 40}), (200, "{}", {})]}, "", set()),
    ("one of two answers from the release before", {"authorized": [(200, "{}", {"X-Release-Sha": "f" * 40})]}, "ASSERTION", {"release-sha-header"}),
    ("no release named", {"/health": [(200, "{}", {"X-Release-Sha": ""})]}, "ASSERTION", {"release-sha-header"}),
    ("a short sha", {"/health": [(200, "{}", {"X-Release-Sha": SHA[:10]})]}, "", set()),
]  # fmt: skip


def smoked(web: Service, **changes):
    smoke = Smoke(**{"base_url": web.url, "protected": "/orders", "release_header": "X-Release-Sha", "retry_delay": "10ms", **changes})  # fmt: skip
    result = smoke_service(smoke, SHA, Budget("smoke", 30, None), environ={"SMOKE_TOKEN": TOKEN})
    content = document(result, smoke, SHA)
    validate("api-smoke", json.loads(json.dumps(content)))
    return content


@pytest.mark.parametrize(("answers", "code", "wrong"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_answers(answers: dict, code: str, wrong: set[str]):
    """Each way to answer leads to its assertions; what passes by is tried again, what does not is not."""
    with service() as web:
        web.release = SHA
        web.answers = {key: list(value) for key, value in answers.items()}
        content = smoked(web)
    assert {a["id"] for a in content["assertions"] if not a["pass"]} == wrong
    assert content["reasonCode"] == (f"API_SMOKE_{code}_FAILED" if code else "")
    assert content["status"] == ("fail" if code else "pass")


def test_attempts_are_bounded_and_told():
    """The authorized call is tried as often as configured, and each attempt is in the timeline."""
    with service() as web:
        web.release = SHA
        web.answers = {"authorized": [(401, "{}", {})]}
        content = smoked(web, retry_attempts=4)
        asked = [path for path, token in web.asked if path == "/orders" and token]
    assert [t["status"] for t in content["retry"]["timeline"]] == [401] * 4
    assert len(asked) == 4
    assert content["retry"]["authorizedRetryAttempts"] == 4
    assert content["retry"]["authorizedRetryDelayMs"] == 10


def test_nobody_there():
    """A service that does not answer is a runtime error, told without secrets."""
    with service() as web:
        url = web.url
    smoke = Smoke(base_url=url, protected="/orders", retry_attempts=2, retry_delay="10ms", timeout="1s")
    result = smoke_service(smoke, SHA, Budget("smoke", 30, None), environ={"SMOKE_TOKEN": TOKEN})
    assert (result.status, result.code) == ("fail", "API_SMOKE_RUNTIME_ERROR")
    assert result.responses["health"].status == 0


def test_snippets_are_short_and_redacted():
    """What an answer says is kept to 300 characters, and a token that it repeats is not shown."""
    with service() as web:
        web.release = SHA
        web.answers = {
            "authorized": [(200, f'{{"token": "{TOKEN}", "password": "hunter22"}}' + "x" * 1000, {})]
        }
        content = smoked(web)
    snippet = content["responses"]["authorized"]["textSnippet"]
    assert len(snippet) <= 300
    assert TOKEN not in json.dumps(content)
    assert "hunter22" not in json.dumps(content)


def test_slow_answers_and_contents():
    """A limit on the time of an answer and a text that it has to hold are asserted where configured."""
    with service() as web:
        web.release = SHA
        content = smoked(
            web, max_seconds="1ms", health_contains='"status":"fail"', authorized_contains="orders"
        )
    wrong = {a["id"] for a in content["assertions"] if not a["pass"]}
    assert "health-contains" in wrong
    assert "authorized-contains" not in wrong
    assert "response-time" in {a["id"] for a in content["assertions"]}


@pytest.mark.postgres("18")
def test_a_failing_smoke_fails_the_release(make: Callable[..., Project]):
    """The release fails with the smoke's own code, the migrations stay, and the incident file says who owns the traffic."""
    with service() as web:
        web.release = "f" * 40
        project = make()
        project.configure(
            '[env.production]\nurl_env = "PRODUCTION_URL"\n'
            + rollout_toml(project.root)
            + smoke_toml(web)
            + '[notify]\nowners = ["team-shop"]\npager = "+49"\n'
        )
        answer = project.json("release", "--sha", SHA, "--env", "production", SMOKE_TOKEN=TOKEN)
        assert answer.code == 3
        told = answer.error("API_SMOKE_ASSERTION_FAILED")["next"]
        assert f"deploy/{SHA}/api-smoke.json; lockgate release recover" in told
        folder = project.root / ".artifacts" / "deploy" / SHA
        incident = json.loads((folder / "incident.json").read_text())
        validate("incident", incident)
        assert incident["traffic"] == "this release; it is rolled out"
        assert len(incident["durablyChanged"]) == 2
        assert (incident["owners"], incident["pager"], incident["failedStep"]) == (
            ["team-shop"],
            "+49",
            "smoke",
        )
        assert incident["nextUpdateDue"] > incident["generatedAt"]
        assert json.loads((folder / "api-smoke.json").read_text())["status"] == "fail"
        web.release = SHA
        project.ok("release", "release", "resume", "--env", "production", SMOKE_TOKEN=TOKEN)
    assert (project.root / "rollouts").read_text() == f"{SHA}\n"


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("toml", "environ"),
    [('base_url = "ftp://x"', {}), ('base_url = "http://127.0.0.1:1"\nprotected = "/p"', {})],
)
def test_wrong_settings(make: Callable[..., Project], toml: str, environ: dict):
    """A URL that is none and a token that is not set are errors of the configuration, told by their names."""
    project = make('[env.production]\nurl_env = "PRODUCTION_URL"\n[smoke]\n' + toml + "\n")
    answer = project.json("release", "--sha", SHA, "--env", "production", **environ)
    assert answer.code == 2
    assert "smoke." in answer.error("CONFIG")["message"]
