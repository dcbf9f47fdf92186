"""What a person reads when something is wrong that they can mend."""


class LoangError(Exception):
    """A mistake that the person at the keyboard can mend.

    The command line prints it without a traceback and exits with status 2.

    Args:
        problem: one sentence that says what is wrong, with the names and numbers involved.
        remedy: one sentence that says what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["LoangError"], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


class LoangWarning(UserWarning):
    """What a person should know, and need not mend; the command line prints it as a line."""
