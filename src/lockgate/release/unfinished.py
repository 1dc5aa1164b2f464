"""Which release a resume goes on with."""

from lockgate.errors import ConfigError
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.releases import ReleaseRow
from lockgate.postgres.target import Target
from lockgate.release.look import connect_patiently


def unfinished(target: Target, limits: Limits, sha: str = "") -> ReleaseRow:
    """The newest release, of ``sha`` where one is given, that did not succeed. Raises ``ConfigError`` (``NO_RELEASE``)."""
    wire = connect_patiently(target, "resume", limits, None)
    try:
        rows = releases.read_releases(wire, "sha LIKE $1 || '%'" if sha else "", *([sha] if sha else []))
    finally:
        wire.close()
    ours = [r for r in rows if r.environment == target.environment]
    if not ours:
        raise ConfigError(f"this database knows no release{' of ' + sha if sha else ''}", "NO_RELEASE")
    if ours[0].state == "succeeded":
        raise ConfigError(
            f"release {ours[0].release_key} of {ours[0].sha[:12]} succeeded; there is nothing to go on with",
            "NO_RELEASE",
        )
    return ours[0]
