"""The program ``deepcut``, which the wheel brings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from ._errors import Error, InputOutputError, InterruptedRun, UntrustedError, UsageError

#: Exceptions by the program's exit codes.
_EXCEPTIONS: dict[int, type[Error]] = {2: UsageError, 4: UntrustedError, 5: InputOutputError}
#: Becomes the program once the kernel knows that it is to be stopped with its parent. It is a process of its own because nothing
#: but `exec` is safe in a fork of a process with threads.
_WITH_PARENT = """
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGTERM = 1, 15
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(128 + SIGTERM)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_program(given: Optional[str]) -> str:
    """The program at a path or on the PATH under a name; none is that of this installation, or else the one on the PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(given) if given else shutil.which("deepcut", path=beside) or shutil.which("deepcut")
    if found is None:
        wanted = given or f"deepcut in {beside} or on the PATH"
        raise UsageError(f"there is no program {wanted}; install the wheel, which brings it, or name one with `program`")
    return found


def run_program(program: Optional[str], arguments: Sequence[str], folder: str) -> tuple[dict[str, Any], str]:
    """Runs the program in ``folder``; what it says with ``--json``, and its warnings.

    It ends with this process, even one that is killed (on Linux), so that whoever does the work again need not wait for it.

    Raises the exception of its exit code, with what it said: ``UsageError``, ``UntrustedError``, ``InputOutputError``, and
    ``InterruptedRun`` where it was stopped. That images were skipped (code 3) is no error.
    """
    command = [find_program(program), *arguments, "--json", "--quiet"]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), *command]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot start the program in {folder}: {error}; all nodes must see that folder") from error
    said = done.stderr.strip()
    if done.returncode in (0, 3):
        return json.loads(done.stdout), said
    # An error is the last thing that it says.
    what = said or f"it was ended with code {done.returncode}"
    raise _EXCEPTIONS.get(done.returncode, InterruptedRun)(f"deepcut {arguments[0]}: {what}")
