"""What a rule over several files gets to look at."""

from lockgate.policy.model.schema import Schema
from lockgate.policy.subject import File, Options


class Tree:
    """Every judged file in order, and the model at the end of the last."""

    def __init__(self, files: list[File], schema: Schema, options: Options) -> None:
        self.files = files
        self.schema = schema
        self.options = options
