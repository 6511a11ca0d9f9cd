# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands behind the Makefile: python3 -m harness <command>."""

import os
import signal
import sys

from harness import common, packages


def command(name):
    """Run one command; return its exit status."""
    from harness import base, build, fuzz, run, tree
    force = os.environ.get('FORCE') == '1'
    table = {'tree': lambda: tree.make_trees(force), 'refresh': tree.refresh_all,
             'kernel': build.kernel, 'qemu': build.qemu, 'stock': build.stock,
             'run': run.interactive, 'all': run.measure, 'test': run.tests,
             'bench': run.bench, 'migration': run.migration,
             'test-field': run.field_tests, 'check': run.check,
             'test-long': run.long_tests, 'test-arch': run.arch_tests,
             'lint': run.lint,
             'fuzz': fuzz.fuzz, 'fetch': base.fetch_all, 'clean-src': tree.remove_all}
    if name not in ('refresh', 'clean-src', 'check'):
        packages.install()
    return table[name]() or 0


def main():
    """Report what a user can do something about in words, not in a traceback."""
    # A terminated run must not leave its compilers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return command(sys.argv[1])
    except common.Failure as failure:
        print(f'error: {failure}', file=sys.stderr)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
    except OSError as error:
        if error.errno != 28:
            raise
        print('error: the disk is full: free some space', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
