"""What a deployment scan finds, and what it leaves alone: samples as (file, text, [(id, line)])."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.policy.deploy import KINDS, judge_text, scan

START, INIT, SIDE = "deploy-migrates-at-start", "deploy-init-container", "deploy-sidecar"
BUILD, CODE = "deploy-migrates-at-build", "deploy-migrates-in-code"


def workload(kind: str, containers: str, init: str = "") -> str:
    """A manifest with a pod template."""
    return f"""apiVersion: apps/v1
kind: {kind}
metadata:
  name: api
spec:
  template:
    spec:
{init}      containers:
{containers}"""


_API = "      - name: api\n        image: api:1\n        command: [gunicorn, app]\n"

BAD = [
    ("Dockerfile", "FROM python\nCMD alembic upgrade head && exec uvicorn app:app\n", [(START, 2)]),
    ("Dockerfile", 'FROM python\nCMD ["sh", "-c", "python manage.py migrate --noinput && gunicorn shop.wsgi"]\n', [(START, 2)]),
    ("api.Dockerfile", "FROM node\nENTRYPOINT npx prisma migrate deploy \\\n  ; node server.js\n", [(START, 2)]),
    ("Dockerfile", "FROM ruby\nRUN bundle install\nRUN bin/rails db:migrate\nCMD [\"rails\", \"s\"]\n", [(BUILD, 3)]),
    ("docker-compose.yml", "services:\n  api:\n    image: api\n    command: sh -c \"goose -dir db up && ./api\"\n", [(START, 4)]),
    ("compose.yaml", "services:\n  api:\n    image: api\n    command:\n      - sh\n      - -c\n      - |\n        dbmate up\n        exec ./api\n", [(START, 8)]),
    ("compose.yaml", "services:\n  migrate:\n    image: api\n    restart: always\n    command: lockgate up\n", [(SIDE, 5)]),
    ("deploy.yaml", workload("Deployment", _API, "      initContainers:\n      - name: migrate\n        command: [\"lockgate\", \"up\"]\n"), [(INIT, 10)]),
    ("deploy.yaml", workload("StatefulSet", _API, "      initContainers:\n        - name: m\n          command:\n            - alembic\n            - upgrade\n            - head\n"), [(INIT, 11)]),
    ("deploy.yaml", workload("Deployment", _API + "      - name: flyway\n        args: [\"flyway\", \"-url=x\", \"migrate\"]\n"), [(SIDE, 13)]),
    ("deploy.yaml", workload("DaemonSet", "      - name: api\n        command: [sh, -c, 'sqlx migrate run && ./api']\n"), [(START, 10)]),
    ("deploy.yaml", workload("Deployment", "      - name: api\n        lifecycle:\n          postStart:\n            exec:\n              command: [node-pg-migrate, up]\n"), [(START, 13)]),
    ("templates/deployment.yaml", "{{- if .Values.api.enabled }}\napiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      {{- with .Values.init }}\n      initContainers:\n        - name: {{ .Release.Name }}-db\n          image: \"{{ .Values.image }}\"\n          args:\n            - lockgate\n            - up\n            - --env\n            - {{ .Values.env }}\n      {{- end }}\n{{- end }}\n", [(INIT, 12)]),
    ("all.yaml", "kind: ConfigMap\ndata:\n  a: b\n---\n" + workload("Pod", _API, "      initContainers:\n      - name: m\n        command: [rake, db:migrate]\n"), [(INIT, 14)]),
    ("list.yaml", "kind: List\nitems:\n- kind: Deployment\n  spec:\n    template:\n      spec:\n        initContainers:\n        - name: m\n          command: [dbmate, migrate]\n", [(INIT, 9)]),
    ("docker-entrypoint.sh", "#!/bin/sh\nset -e\npython manage.py migrate\nexec gunicorn app\n", [(START, 3)]),
    ("entrypoint.sh", "#!/bin/bash\nif [ \"$RUN_MIGRATIONS\" = 1 ]; then\n  alembic upgrade head\nfi\nexec \"$@\"\n", [(START, 3)]),
    ("start.sh", "#!/bin/sh\ncase \"$1\" in\n  web) alembic upgrade head; exec uvicorn app ;;\nesac\n", [(START, 3)]),
    ("bin/entrypoint", "#!/usr/bin/env bash\nbundle exec rails db:prepare\nexec bundle exec puma\n", [(START, 2)]),
    ("Procfile", "web: flask db upgrade && gunicorn app\n", [(START, 1)]),
    ("package.json", '{\n  "scripts": {\n    "start": "npm run db && node .",\n    "db": "knex migrate:latest"\n  }\n}\n', [(START, 3)]),
    ("app/main.py", "from alembic import command\nfrom alembic.config import Config\ncommand.upgrade(Config('alembic.ini'), 'head')\n", [(CODE, 3)]),
    ("app/main.py", "from .db import Base, engine\nBase.metadata.create_all(bind=engine)\n", [(CODE, 2)]),
    ("app/main.py", "@asynccontextmanager\nasync def lifespan(app):\n    async with engine.begin() as c:\n        await c.run_sync(Base.metadata.create_all)\n    yield\n", [(CODE, 4)]),
    ("app/main.py", "import subprocess\n@app.on_event('startup')\ndef go():\n    prepare()\ndef prepare():\n    subprocess.run(['alembic', 'upgrade', 'head'], check=True)\n", [(CODE, 6)]),
    ("shop/apps.py", "from django.core.management import call_command\nclass Shop(AppConfig):\n    def ready(self):\n        call_command('migrate')\n", [(CODE, 4)]),
    ("app/run.py", "import uvicorn, os\ndef main():\n    os.system('lockgate up')\n    uvicorn.run('app:app')\nif __name__ == '__main__':\n    main()\n", [(CODE, 3)]),
    ("app/main.py", "def broken(:\n", [("deploy-unreadable", 1)]),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: flyway/flyway:10\n        args: [migrate]\n"), [(SIDE, 14)]),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: ghcr.io/amacneil/dbmate\n        args:\n        - --wait\n        - up\n"), [(SIDE, 15)]),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: arigaio/atlas:latest\n        args: [migrate, apply]\n"), [(SIDE, 14)]),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: \"liquibase/liquibase:4\"\n        args: [--log-level=info, update]\n"), [(SIDE, 14)]),
    ("deploy.yaml", workload("Deployment", _API, "      initContainers:\n      - name: m\n        image: migrate/migrate:v4\n        args: [\"-path=/m\", \"-database=$(DB)\", up]\n"), [(INIT, 11)]),
    ("compose.yaml", "services:\n  db:\n    image: flyway/flyway\n    restart: always\n    command: -url=jdbc:postgresql://x migrate\n", [(SIDE, 5)]),
    ("compose.yaml", "x-m: &m\n  image: api\n  command: sh -c 'alembic upgrade head && ./api'\nservices:\n  api:\n    <<: *m\n    ports: [80]\n", [(START, 3)]),
    ("compose.yaml", "x-a: &a\n  image: api\nx-m: &m\n  <<: *a\n  command: &c dbmate up\nservices:\n  one:\n    <<: [*a, *m]\n    restart: always\n  two:\n    command: *c\n", [(SIDE, 5)]),
]  # fmt: skip

GOOD = [
    ("Dockerfile", "FROM python AS migrate\nCMD alembic upgrade head && echo done\nFROM python\nCMD [\"gunicorn\", \"app\"]\n"),
    ("Dockerfile", "FROM python\nRUN pip install alembic\n# CMD alembic upgrade head && run\nENTRYPOINT [\"lockgate\", \"up\"]\n"),
    ("Dockerfile", "FROM python\nCMD [\"lockgate\", \"run\", \"--contract\", \"c.toml\", \"--\", \"gunicorn\", \"app\"]\n"),
    ("Dockerfile.migrate", "FROM python\nCMD lockgate up; sleep 1; report\n"),
    ("compose.yaml", "services:\n  migrate:\n    image: api\n    command: [alembic, upgrade, head]\n  api:\n    image: api\n    depends_on:\n      migrate:\n        condition: service_completed_successfully\n"),
    ("job.yaml", workload("Job", "      - name: m\n        command: [lockgate, up]\n")),
    ("job.yaml", workload("Job", "      - name: m\n        command: [sh, -c, 'lockgate up && notify']\n", "      initContainers:\n      - name: wait\n        command: [lockgate, up]\n")),
    ("hook.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata:\n  annotations:\n    argocd.argoproj.io/hook: PreSync\n    \"helm.sh/hook\": pre-upgrade\nspec:\n  template:\n    spec:\n      containers:\n        - name: migrate\n          args: [\"alembic\", \"upgrade\", \"head\"]\n"),
    ("deploy.yaml", workload("Deployment", _API, "      initContainers:\n      - name: gate\n        command: [\"lockgate\", \"gate\", \"wait\"]\n")),
    ("deploy.yaml", workload("Deployment", _API, "      initContainers:\n      - name: check\n        command: [python, manage.py, migrate, --check]\n")),
    ("deploy.yaml", workload("Deployment", _API + "        # command: [alembic, upgrade, head]\n")),
    (".github/workflows/deploy.yml", "jobs:\n  m:\n    services:\n      db:\n        image: postgres\n    steps:\n      - run: lockgate up && lockgate verify\n"),
    (".gitlab-ci.yml", "migrate:\n  script:\n    - alembic upgrade head && ./x\n"),
    ("values.yaml", "image: x\nmigrate:\n  command: alembic upgrade head\n"),
    ("entrypoint.sh", "#!/bin/sh\ncase \"$1\" in\n  migrate)\n    alembic upgrade head\n    ;;\n  web) exec gunicorn app ;;\nesac\n"),
    ("entrypoint.sh", "#!/bin/sh\nif [ \"$1\" = \"migrate\" ]; then\n  exec lockgate up\nfi\nexec gunicorn app\n"),
    ("entrypoint.sh", "#!/bin/sh\necho 'run alembic upgrade head first'\n# alembic upgrade head\nexec gunicorn app\n"),
    ("run-migrations.sh", "#!/bin/sh\nset -eu\nalembic upgrade head\nnotify\n"),
    ("deploy.sh", "#!/bin/sh\nlockgate up\nkubectl rollout restart deploy/api\n"),
    ("Procfile", "release: python manage.py migrate\nweb: gunicorn app\n"),
    ("package.json", '{"scripts": {"start": "node .", "migrate": "prisma migrate deploy"}}'),
    ("manage.py", "from django.core.management import execute_from_command_line\nexecute_from_command_line(['x', 'migrate'])\n"),
    ("tests/conftest.py", "Base.metadata.create_all(engine)\n"),
    ("migrations/env.py", "from alembic import context\ncontext.run_migrations()\n"),
    ("app/cli.py", "from alembic import command\ndef migrate():\n    command.upgrade(cfg, 'head')\n"),
    ("app/cli.py", "import subprocess\ndef main():\n    subprocess.run(['alembic', 'upgrade', 'head'])\nif __name__ == '__main__':\n    main()\n"),
    ("app/main.py", "def lifespan(app):\n    call_command('migrate', check_unapplied=True)\n    yield\n"),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: flyway/flyway:10\n        args: [info]\n")),
    ("deploy.yaml", workload("Deployment", _API + "      - name: db\n        image: flyway/flyway:10\n        command: [sleep]\n        args: [migrate]\n")),
    ("job.yaml", workload("Job", "      - name: db\n        image: flyway/flyway:10\n        args: [migrate]\n")),
    ("compose.yaml", "x-m: &m\n  command: sh -c 'alembic upgrade head && ./api'\nservices:\n  api:\n    <<: *m\n    command: ./api\n"),
    ("Dockerfile", "FROM flyway/flyway\nCMD [\"migrate\"]\n"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "text", "expected"), BAD, ids=range(len(BAD)))
def test_bad_samples(file: str, text: str, expected: list[tuple[str, int]]) -> None:
    """Each is found, under its id and on its line."""
    assert [(f.id, f.line) for f in judge_text(file, text)] == expected


@pytest.mark.parametrize(("file", "text"), GOOD, ids=range(len(GOOD)))
def test_good_samples(file: str, text: str) -> None:
    """A job, a hook, a pipeline step, a comment and a command for people are no findings."""
    assert judge_text(file, text) == []


def test_every_kind_is_shown_by_a_sample() -> None:
    """No kind of finding is without an example."""
    assert {name for _, _, expected in BAD for name, _ in expected} == set(KINDS)


def test_folders_are_walked(tmp_path: Path) -> None:
    """A folder gives what its files give; dependencies, binaries and other files are not looked at."""
    (tmp_path / "k8s").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "Dockerfile").write_text(BAD[0][1])
    (tmp_path / "k8s" / "d.yaml").write_text(BAD[7][1])
    (tmp_path / "node_modules" / "Dockerfile").write_text(BAD[0][1])
    (tmp_path / "notes.md").write_text("alembic upgrade head")
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe\x00")
    found = scan([tmp_path])
    assert [(Path(f.file).name, f.id) for f in found] == [("Dockerfile", START), ("d.yaml", INIT)]
    assert all(f.fix and f.message and f.evidence for f in found)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    """It is an error, not silence."""
    with pytest.raises(OSError, match="absent"):
        scan([tmp_path / "absent"])


@pytest.mark.parametrize(
    "text",
    ["", "- -", ":", "a:\n  - [", "'", "{{", "\t- x", "a: |", "- - - a: 'b", "kind:\n- containers:\n  - "],
)
@pytest.mark.parametrize("file", ["a.yaml", "Dockerfile", "start.sh", "Procfile", "package.json", "a.py"])
def test_odd_files_do_no_harm(file: str, text: str) -> None:
    """Whatever stands in a file, the scan answers."""
    assert all(f.id == "deploy-unreadable" for f in judge_text(file, text))


_FRAGMENTS = ["kind: Deployment", "- ", "command:", "containers:", "initContainers:", "[", "]", "lockgate up", "&&", "\n", "  ", "|", "'", '"', "{{ x }}", "#", "if [", "fi", "esac", ";;", "*)", "def f():", "services:", ":"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["a.yaml", "Dockerfile", "start.sh", "a.py", "package.json"]),
    st.lists(st.sampled_from(_FRAGMENTS), max_size=40),
)
def test_mutated_files_do_no_harm(file: str, words: list[str]) -> None:
    """Pieces of real files in any order never end the scan, and every finding lies in the file."""
    text = "".join(words)
    assert all(1 <= f.line <= text.count("\n") + 1 for f in judge_text(file, text))
