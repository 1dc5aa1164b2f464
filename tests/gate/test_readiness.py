"""The readiness of a service: every arrow has a reason, and no order of events breaks the promises."""

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lockgate.gate.readiness import MOVES, NO, STOP, UNKNOWN, YES, Readiness, State


def test_the_table_is_whole():
    """Every state has a move for every event, with a reason, and leads to a state that has them too."""
    states = {value for name, value in vars(State).items() if name.isupper()}
    assert {state for state, _ in MOVES} == states
    for state in states:
        for event in (YES, NO, UNKNOWN, STOP):
            after, why = MOVES[state, event]
            assert after in states
            assert why


class Life(RuleBasedStateMachine):
    """A service that hears any events in any order, beside the plainest model of what was promised."""

    def __init__(self):
        super().__init__()
        self.readiness = Readiness()
        self.last_clear = None
        self.ever = False
        self.stopped = False

    def hear(self, event):
        self.readiness = self.readiness.after(event)

    @rule()
    def passes(self):
        """A check that passes."""
        self.hear(YES)
        if not self.stopped:
            self.last_clear, self.ever = True, True

    @rule()
    def fails(self):
        """A definite mismatch."""
        self.hear(NO)
        self.last_clear = False

    @rule()
    def unknown(self):
        """Nobody answers."""
        self.hear(UNKNOWN)

    @rule()
    def stop(self):
        """The process ends."""
        self.hear(STOP)
        self.stopped = True

    @invariant()
    def serves_by_the_last_clear_answer(self):
        """It serves exactly when the last clear answer was yes and it was not stopped: unknown changes nothing."""
        assert self.readiness.serves == (self.last_clear is True and not self.stopped)

    @invariant()
    def started_stays(self):
        """Once ready, it counts as started for ever; never before."""
        assert self.readiness.started == self.ever


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=30)
