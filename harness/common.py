# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths, errors, and running commands with a log and a sign of life."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
SRC = BUILD / 'src'
STOCK = BUILD / 'stock'
LOGS = BUILD / 'logs'
PROJECTS = ('linux', 'qemu')

# The commands that run_logged() has run so far: (title, seconds).
SPENT = []


class Failure(Exception):
    """An error that the user can mend; its text explains how."""


def say(text):
    """Print one line, at once."""
    print(text, flush=True)


def warn(text):
    """Print one line of warning on standard error."""
    print(f'warning: {text}', file=sys.stderr, flush=True)


def jobs():
    """Return how many compilers a build runs at a time."""
    text = os.environ.get('JOBS') or str(len(os.sched_getaffinity(0)))
    if not text.isdecimal() or not int(text):
        raise Failure(f'JOBS={text}: give a whole number above 0')
    return int(text)


def split_words(variable, default=''):
    """Return the words of an environment variable, as a shell reads them."""
    text = os.environ.get(variable, default)
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Failure(f'{variable}={text}: {error}') from None


def tail(path, lines=20):
    """Return the last lines of a text file, or '' if there is none."""
    text = Path(path).read_text(encoding='utf-8', errors='replace') \
        if Path(path).exists() else ''
    return '\n'.join(text.splitlines()[-lines:])


def capture(argv, **kwargs):
    """Run a command and return its standard output; raise Failure if it fails."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors='replace', check=False, **kwargs)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, argv))}: "
                      f'{done.stderr.strip() or done.stdout.strip()}')
    return done.stdout


def compile_if_newer(argv, program, *sources):
    """Compile a program, with argv and its path, where a source is newer."""
    if not program.exists() or program.stat().st_mtime <= max(
            source.stat().st_mtime for source in sources):
        capture([*argv, '-o', program])


def _clock(seconds):
    """Return a time as minutes and seconds."""
    return f'{int(seconds) // 60}:{int(seconds) % 60:02}'


def _watch(process, title, log, started):
    """Wait for a process, showing the time and how far its log has come."""
    # A terminal's line is rewritten, a log's grows.
    tick, begin, end = (1, '\r\033[K', '') if sys.stdout.isatty() else (60, '', '\n')
    while True:
        try:
            return process.wait(tick)
        except subprocess.TimeoutExpired:
            print(f'{begin}{title} {_clock(time.monotonic() - started)}  '
                  f'{tail(log, 1).strip()[:50]}', end=end, flush=True)


def run_logged(title, argv, log, **kwargs):
    """Run a long command with its output in LOGS/log; show time on the terminal."""
    # Raises Failure with the end of the log if the command fails.
    LOGS.mkdir(parents=True, exist_ok=True)
    path, started = LOGS / log, time.monotonic()
    with open(path, 'wb') as out, subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, **kwargs) as process:
        try:
            status = _watch(process, title, path, started)
        except BaseException:
            process.terminate()
            raise
    clear = '\r\033[K' if sys.stdout.isatty() else ''
    if status:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        raise Failure(f'{clear}{title}: failed (status {status}); '
                      f'the end of {shown}:\n{tail(path)}')
    SPENT.append((title, time.monotonic() - started))
    say(f'{clear}{title}: {_clock(SPENT[-1][1])}')
