"""The one exception for a user's mistake."""


class UserError(ValueError):
    """A mistake that the user can mend; the command line prints its one line and exits with status 2.

    Args:
        message: One line that names the file or option, says what is wrong and what to do about it.
    """
