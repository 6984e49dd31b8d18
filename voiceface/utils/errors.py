"""The exception for a user's mistake, and the text of system errors."""


class UserError(ValueError):
    """A mistake that the user can fix; the command line prints its one line and exits with status 2.

    Args:
        message: One line that names the file or option, says what is wrong and what to do about it.
    """


def reason(error: OSError) -> str:
    """Describe a system error briefly, without a path: `no space left on device`."""
    return (error.strerror or str(error)).lower()
