"""Python entry points: migrations at import, in start-up hooks, and in what these call. Read as a tree, never run."""

import ast
import re
from collections.abc import Iterator

from lockgate.policy.deploy.commands import migrating
from lockgate.policy.deploy.kinds import DeployFinding, finding

_STARTS = frozenset({
    "lifespan", "startup", "on_startup", "app_startup", "startup_event", "create_app", "make_app", "build_app", "init_app", "get_app", "ready",
    "app_factory", "create_application", "get_application", "on_starting", "when_ready", "post_worker_init", "post_fork", "worker_init",
})  # fmt: skip
_HOOK = re.compile(
    r"on_event|on_startup|startup|before_first_request|before_serving|before_server_start|worker_init|worker_process_init|lifespan|asynccontextmanager"
)
_SERVES = re.compile(
    r"(?:uvicorn|hypercorn|waitress|granian)\b.*|.*\.(?:run|serve_forever|run_app|run_forever)|serve|run_app|run_simple"
)
_ELSEWHERE = re.compile(
    r"(?:^|/)(?:tests?|migrations|versions|alembic)/|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest|manage|setup|noxfile|tasks|fabfile|env|[^/]*migrat[^/]*)\.py$"
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def python(file: str, text: str) -> Iterator[DeployFinding]:
    """The calls that migrate and that a starting process reaches."""
    if _ELSEWHERE.search(file):
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        yield finding("deploy-unreadable", file, 1, "Python", file)
        return
    module = _Module(tree)
    seen: set[int] = set()
    for how, start in module.starts():
        for node, tool in module.reached(start):
            if node.lineno not in seen:
                seen.add(node.lineno)
                yield finding("deploy-migrates-in-code", file, node.lineno, tool, how, ast.unparse(node))


class _Module:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.functions: dict[str, _Function] = {}
        # What a name stands for: alias → dotted name.
        self.names: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, _Function):
                self.functions.setdefault(node.name, node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        self.names[alias.asname] = alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"

    def starts(self) -> Iterator[tuple[str, list[ast.stmt]]]:
        """Where a process begins: the statements, and what they are called in a message."""
        plain = [s for s in self.tree.body if not isinstance(s, _Function | ast.ClassDef) and not _is_main(s)]
        yield "when the module is imported", list(plain)
        for node in self.functions.values():
            if node.name in _STARTS or any(_HOOK.search(ast.unparse(d)) for d in node.decorator_list):
                yield f"in {node.name}()", node.body
        for statement in self.tree.body:
            if isinstance(statement, ast.If) and _is_main(statement) and self._serves(statement.body):
                yield "when the program starts", statement.body

    def _serves(self, body: list[ast.stmt], depth: int = 0) -> bool:
        for node in _calls(body):
            name = self.dotted(node.func)
            if _SERVES.fullmatch(name) and not name.startswith(("subprocess.", "asyncio.run")):
                return True
            inner = self._called(node)
            if inner is not None and depth < 5 and self._serves(inner.body, depth + 1):
                return True
        return False

    def _called(self, node: ast.Call) -> _Function | None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return self.functions.get(name)

    def reached(self, body: list[ast.stmt]) -> Iterator[tuple[ast.expr, str]]:
        """The migrating calls in ``body`` and in the functions of this module that it calls or hands over."""
        queue, done = [body], set[str]()
        while queue:
            for statement in queue.pop():
                for node in _outside_functions(statement):
                    if (
                        isinstance(node, ast.Attribute)
                        and node.attr == "create_all"
                        and "metadata" in ast.unparse(node.value).lower()
                    ):
                        yield node, "metadata.create_all"
                    elif isinstance(node, ast.Call):
                        tool = self._tool(node)
                        if tool:
                            yield node, tool
                    elif isinstance(node, ast.Name) and node.id in self.functions and node.id not in done:
                        done.add(node.id)
                        queue.append(self.functions[node.id].body)

    def dotted(self, node: ast.expr) -> str:
        """The dotted name of what is called, with imported names written out."""
        text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        head, dot, rest = text.partition(".")
        return self.names.get(head, head) + dot + rest

    def _tool(self, node: ast.Call) -> str:
        name = self.dotted(node.func)
        words = [
            n.value
            for argument in node.args
            for n in ast.walk(argument)
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        if name in ("alembic.command.upgrade", "alembic.config.main") and (
            name.endswith("upgrade") or "upgrade" in words
        ):
            return "alembic"
        if name == "flask_migrate.upgrade":
            return "flask db"
        if name.endswith("call_command") and words[:1] == ["migrate"]:
            keys = {keyword.arg for keyword in node.keywords}
            return "" if keys & {"plan", "check", "check_unapplied"} else "django migrate"
        if name.endswith("execute_from_command_line") and "migrate" in words:
            return "django migrate"
        if name.endswith(".apply_migrations"):
            return "yoyo"
        if re.search(
            r"^(?:subprocess|os|asyncio)\.|(?:^|\.)(?:run|call|check_call|check_output|Popen|system|execvp?)$",
            name,
        ):
            return migrating(" ".join(words))
        return ""


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below ``node`` that run with it; bodies of functions and classes do not."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _Function | ast.Lambda):
            yield from _outside_functions(child)


def _calls(body: list[ast.stmt]) -> Iterator[ast.Call]:
    for statement in body:
        for node in _outside_functions(statement):
            if isinstance(node, ast.Call):
                yield node


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
