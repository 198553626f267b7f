"""The one exception that a user ever sees."""


class ZddError(Exception):
    """A mistake that the user can mend: shown as its lines, without a traceback, with exit code 2.

    Args:
        lines: One line a mistake: the setting or file, the value, and what would be right.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
