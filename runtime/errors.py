"""What is said to the person at the terminal: one sentence that says what is wrong, where, and how to mend it."""

import contextlib
import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator

FULL = (errno.ENOSPC, errno.EDQUOT)


class ConfigError(ValueError):
    """Something the user gave cannot be used; the message says what, where, and how to mend it."""


class RunError(RuntimeError):
    """A run cannot go on for a reason that its message explains in full."""


def is_disk_full(error: BaseException) -> bool:
    """Returns whether a write failed because the disk, or the user's share of it, is full.

    Libraries that write in threads of their own raise other types than `OSError` and keep the system's words.
    """
    return getattr(error, "errno", None) in FULL or "No space left" in str(error) or "quota exceeded" in str(error)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Ends the program with one sentence on standard error instead of a traceback.

    Exit status 2 for a `ConfigError` (the command or the config is wrong), 1 for a `RunError` (the run failed) and for
    a full disk. A reader that has seen enough, such as `head`, ends the program quietly. Every other exception is a
    defect of the program and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds back would fail once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ConfigError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
    except Exception as error:
        if not is_disk_full(error):
            raise
        place = f" at {error.filename}" if getattr(error, "filename", None) else ""
        print(
            f"error: the disk is full{place}: free space and give the same command again, what is finished is kept",
            file=sys.stderr,
        )
        raise SystemExit(1) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ' (did you mean …?)' for the nearest of the known words, or the list of them where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (there are: {', '.join(known)})" if known else ""
