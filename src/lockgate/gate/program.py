"""The program of a command probe, run so that whoever asks can end it with all it started, at any moment."""

import contextlib
import os
import signal
import subprocess
import threading


class Down(Exception):
    """The probe's answer is no; the message says what was seen, ``next`` what to do where that is clearer than for its kind."""

    def __init__(self, seen: str, next: str = "") -> None:
        super().__init__(seen)
        self.next = next


class Program:
    """One program. ``end`` may be called from any thread, before it is started too: then it never is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False

    def run(self, words: list[str], timeout: float) -> "tuple[int, str]":
        """Its exit code and the end of what it said on stderr. Raises ``Down`` when it is not there, or late."""
        try:
            process = self._start(words)
        except FileNotFoundError:
            raise Down(
                f"{words[0]}: there is no such program", "Install it in this image, or give its whole path."
            ) from None
        except OSError as error:
            raise Down(
                f"{words[0]}: {error.strerror}", "Give the path of a program that can be executed."
            ) from None
        with process:
            try:
                _, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                self.end()
                raise Down(f"{words[0]} did not end within {timeout:g} s") from None
        with self._lock:
            if self._over:
                raise Down(f"{words[0]} did not end in time")
            self._over = True
        return process.returncode, err.decode("utf-8", "replace").strip()[-200:]

    def end(self) -> None:
        """Kill what still runs, with everything that it has started. What has ended by itself is left alone."""
        with self._lock:
            over, self._over = self._over, True
            if over or self._process is None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self, words: list[str]) -> "subprocess.Popen[bytes]":
        # Under the lock: who ends it either knows the process already, or comes first and none is started. Popen
        # returns behind the child's setsid, so the group is there.
        with self._lock:
            if self._over:
                raise Down(f"{words[0]} was not started in time")
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            return self._process
