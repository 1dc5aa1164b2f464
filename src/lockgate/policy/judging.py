"""What a rule over several files gets to look at."""

from lockgate.policy.model.schema import Schema
from lockgate.policy.subject import File, Options


class Tree:
    """Every judged file in order, and the model at the end of the last.

    ``last`` is the place of the newest file of the project, which need not be among them.
    """

    def __init__(self, files: list[File], schema: Schema, options: Options, last: int = -1) -> None:
        self.files = files
        self.schema = schema
        self.options = options
        self.last = last if last >= 0 else (files[-1].place if files else 0)
