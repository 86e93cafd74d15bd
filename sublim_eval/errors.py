"""The one error that a user sees: a clear sentence that ends with the next step."""

from difflib import get_close_matches

from click import ClickException

from sublim_eval.console import one_line


class SublimError(ClickException):
    """Something the user can mend. The message says what is wrong and ends with the next step.

    Inspect's command line is click's, as ours is: it prints such an error in one line, where others bring a traceback.
    """

    def format_message(self) -> str:
        """What click prints: the message on one line, with nothing in it that steers a terminal."""
        return one_line(self.message)


def unknown(kind: str, name: str, known: list[str], add: str) -> SublimError:
    """The error for a name that is not in a catalogue; suggests the nearest known one."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SublimError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}. {add}")
