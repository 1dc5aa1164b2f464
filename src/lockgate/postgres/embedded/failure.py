"""What the keeper tells the caller when a launch fails: a plain value that crosses a pipe as JSON."""


class LaunchError(Exception):
    """The server cannot be started. ``tail`` holds the last lines of the file ``log``, ``advice`` what to do next."""

    def __init__(
        self, message: str, *, advice: str = "", log: str = "", tail: list[str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = log
        self.tail = tail or []

    def as_dict(self) -> dict[str, object]:
        """The fields, ready for JSON."""
        return {"error": self.message, "next": self.advice, "log": self.log, "tail": self.tail}
