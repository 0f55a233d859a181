"""The one exception that is meant for the person at the keyboard."""


class InputError(Exception):
    """Something given from outside cannot be used.

    The message is one line that says what was expected, what came, and what to do. Front ends show it as it is;
    the command line prints it and exits with status 2.
    """
