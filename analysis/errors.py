"""The one exception that stands for bad input; both packages raise it and both command lines print it."""


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one line and says what is wrong, where (file, line or row, key) and what would be right. Command
    lines print it without a traceback and exit with code 2.
    """
