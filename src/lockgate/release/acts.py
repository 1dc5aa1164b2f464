"""What each step of a release does, by its name in ``steps``."""

from collections.abc import Callable

from lockgate.release import stage_proof, stages_after, stages_before
from lockgate.release.budget import Budget
from lockgate.release.course import Course
from lockgate.release.steps import Ended, skipped


def _about_indexes(name: str) -> Callable[[Course, Budget], Ended]:
    """A step of ``stages_indexes``, which is loaded only where an index is declared: most releases have none."""

    def act(course: Course, budget: Budget) -> Ended:
        if not course.settings.index:
            return skipped("no [index.NAME] is configured")
        from lockgate.release import stages_indexes

        acts = {"indexes": stages_indexes.indexes, "index-watch": stages_indexes.watch_indexes}
        return acts[name](course, budget)

    return act


ACTS: dict[str, Callable[[Course, Budget], Ended]] = {
    "window": stages_before.window,
    "candidate": stages_before.judge_candidate,
    "proof": stage_proof.prove,
    "approvals": stages_before.approvals,
    "backup": stages_before.backup,
    "pause": stages_before.pause,
    "migrate": stages_after.migrate,
    "verify": stages_after.check,
    "indexes": _about_indexes("indexes"),
    "rollout": stages_after.rollout,
    "smoke": stages_after.smoke,
    "watch": stages_after.watch,
    "resume": stages_after.resume,
    "index-watch": _about_indexes("index-watch"),
}
