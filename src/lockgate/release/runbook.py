"""The runbook of an environment, written from its configuration."""

from lockgate.config import Settings


def runbook(settings: Settings, name: str) -> str:
    """The runbook of the environment ``name`` in Markdown: what is configured, what happens, whom to call, how to go back."""
    own, env = settings.of(name), settings.env.get(name)
    flag = f" --env {name}" if name else ""
    n, w = own.notify, own.workers
    lines = [f"# Runbook: releasing to {name or 'the default target'}", ""]
    lines += [f"- Owners: {', '.join(n.owners) or 'NOT CONFIGURED (notify.owners)'}", f"- Pager: {n.pager or 'NOT CONFIGURED (notify.pager)'}", f"- Channel: {n.channel or 'NOT CONFIGURED (notify.channel)'}"]  # fmt: skip
    if env is not None:
        lines += [
            f"- URL: in the variable `{env.url_env}`",
            f"- Protected: {'yes' if env.protected else 'no'}",
        ]
    lines += ["", "## Before", ""]
    if env is not None and env.protected:
        a = env.approvals
        roles = f", among them {', '.join(a.roles)}" if a.roles else ""
        lines.append(f"1. `lockgate plan{flag}`; {a.count} {'person approves' if a.count == 1 else 'people approve'} it ({max(a.count, a.high_impact_count)} for high impact{roles}): `lockgate approve{flag} --role ROLE`. Nobody approves their own release.")  # fmt: skip
        lines += [f"2. Windows: {'; '.join(env.windows) or 'none declared'}; they bind plans of {env.window_impact} impact and above."] if env.windows else []  # fmt: skip
        lines += [
            f"3. Frozen from {f.start} to {f.end}: {f.reason or 'no reason given'}." for f in env.freezes
        ]
        if env.same_plan_on:
            lines.append(f"4. The same plan has to pass {env.same_plan_on} first.")
    else:
        lines.append(f"1. `lockgate plan{flag}` shows what will be applied. No approvals are demanded.")
    lines += ["", "## Release", "", f"    lockgate release --sha SHA{flag}", ""]
    lines += [
        f"- Backup: {own.backup.provider or 'NOT CONFIGURED'}" + (f", at most {own.backup.max_age} old, in `{own.backup.directory}`" if own.backup.provider else ""),
        f"- Workers: {_workers(w.provider, w.preset, w.name)}",
        f"- Migration job: {own.job.provider}",
        f"- Verification: `{own.release.verify_directory}/*.sql`",
        f"- Rollout: {' '.join(own.release.rollout) or ('handed off; then lockgate release continue' if own.release.hand_off else 'NOT CONFIGURED')}",
        f"- Smoke: {own.smoke.base_url or 'NOT CONFIGURED'}",
        f"- Watch: {', '.join(own.watch.queries) or 'NOT CONFIGURED'}{f' for {own.watch.window}' if own.watch.window else ''}",
    ]  # fmt: skip
    lines += [
        "", "## When it fails", "",
        "1. Read `reason`, `state` and `next` in `.artifacts/deploy/SHA/migration.json`, or open `report.html`.",
        f"2. It died, or the cause is mended: `lockgate release resume{flag}`. A file that has to change comes with a new sha.",
        f"3. Going back: `lockgate release recover{flag}` prints the commands with their ids and says what each costs; `lockgate release workers pause{flag} --reason TEXT` (or `resume`) on the way.",
        f"4. `lockgate postmortem new SHA{flag}` within 48 hours. The first word to others is due after 10 minutes.",
        "", "## Look", "",
        f"    lockgate status{flag}", f"    lockgate doctor{flag}", f"    lockgate backup list{flag}", f"    lockgate approve{flag} --list", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _workers(provider: str, preset: str, name: str) -> str:
    if preset:
        return f"{preset} {name}"
    return provider or "NOT CONFIGURED"
