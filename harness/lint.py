# SPDX-License-Identifier: GPL-2.0-or-later
"""Build and check the files that the patches change, after any patch.

build/each/src has worktrees; the folders beside it have objects, one a configuration.
"""

import os
import re
import shutil
import subprocess
from collections import Counter, namedtuple

from harness import build, tree
from harness.common import BUILD, LOGS, Failure, jobs, run_logged
from harness.debian import archive

FOLDER = BUILD / 'each'
SOURCE = FOLDER / 'src' / 'linux'

# The kernel's ARCH, the prefix of its compiler, what CONFIG_VIRTIO_BALLOON is, and
# options beyond base/kernel.config.
Machine = namedtuple('Machine', 'arch prefix balloon options')
MACHINES = {
    'x86_64': Machine('x86_64', '', 'y', ('VMWARE_VMCI', 'VMWARE_BALLOON')),
    'x86_64-m': Machine('x86_64', '', 'm', ()),
    'x86_64-n': Machine('x86_64', '', 'n', ()),
    'arm64': Machine('arm64', 'aarch64-linux-gnu-', 'y', ('ARM64_64K_PAGES',)),
    's390x': Machine('s390', 's390x-linux-gnu-', 'y', ('S390_GUEST',)),
    'i386': Machine('i386', '', 'y', ('HIGHMEM4G',)),
    'uml': Machine('um', '', 'y', ('VIRTIO_UML',)),
}
# Files that are not in every kernel.
OPTIONAL = {'mm/balloon.c': 'CONFIG_BALLOON=y',
            'mm/memory_hotplug.c': 'CONFIG_MEMORY_HOTPLUG=y',
            'drivers/s390/virtio/virtio_ccw.c': 'CONFIG_S390=y',
            'arch/um/drivers/virtio_uml.c': 'CONFIG_UML=y'}
# Another user of the changed code.
OTHER_BALLOON = ('drivers/misc/vmw_balloon.o', 'CONFIG_VMWARE_BALLOON=y')

# Options of checkpatch: the sender signs.
CHECKPATCH = {
    'linux': ['--strict', '--codespell', '--no-signoff', '--terse', '--showfile'],
    'qemu': ['--no-signoff', '--terse'],
}


def checkpatch(project, patch):
    """Return checkpatch's (exit status, lines) for a patch."""
    # Its helpers want Debian's Python, whatever else is on the PATH.
    env = {**os.environ, 'PATH': f"/usr/bin:{os.environ['PATH']}"}
    done = subprocess.run(['scripts/checkpatch.pl', *CHECKPATCH[project], patch],
                          cwd=tree.tree(project), capture_output=True, text=True,
                          env=env, check=False)
    return done.returncode, done.stdout.splitlines() + done.stderr.splitlines()


def touched(*patterns):
    """Return the files that the patches touch, by their names at its end."""
    return tree.git(tree.tree('linux'), 'diff', '--name-only', 'base', 'HEAD',
                    '--', *patterns).split()


def checkout(commit, project='linux'):
    """Check out a commit in the worktree, and no other changes."""
    tree.worktree(project, SOURCE.with_name(project), commit)


def present(*patterns):
    """Return the touched files that are in the worktree."""
    return [file for file in touched(*patterns) if (SOURCE / file).exists()]


def run_checker(title, argv, log, cwd=None):
    """Run a checker; return its output."""
    # The kernel's scripts want Debian's Python, whatever else is on the PATH.
    env = {**build.compiler_environment(), 'PATH': f"/usr/bin:{os.environ['PATH']}"}
    run_logged(title, argv, log, cwd=cwd, env=env)
    return (LOGS / log).read_text(encoding='utf-8', errors='replace')


def wanted(machine):
    """Return the options that a configuration adds to base/kernel.config."""
    value = machine.balloon
    tests = 'm' if value == 'm' else 'y'
    return ''.join(f'CONFIG_{line}\n' for line in (
        f'VIRTIO_BALLOON={value}', 'KUNIT=y', f'VIRTIO_BALLOON_KUNIT_TEST={tests}',
        f"VIRTIO_BALLOON_DEVICE_KUNIT_TEST={tests if value != 'n' else 'n'}",
        f'UNUSED_PAGES_KUNIT_TEST={tests}', 'BALLOON_KUNIT_TEST=y',
        *(f'{option}=y' for option in machine.options)))


def make(name):
    """Return the command line of make for a configuration."""
    machine = MACHINES[name]
    return [*build.kernel_make(SOURCE, FOLDER / name, machine.arch, machine.prefix),
            'W=1']


def configure(name):
    """Write .config, unless it is current; return wanted options that it has not."""
    out = FOLDER / name
    out.mkdir(parents=True, exist_ok=True)
    stamp, lines = out / 'fragment.stamp', wanted(MACHINES[name])
    text = build.FRAGMENT.read_text(encoding='utf-8') + lines
    state = text + tree.git(SOURCE, 'ls-tree', 'HEAD', *touched('*Kconfig*'))
    if not build.is_current(stamp, state):
        stamp.unlink(missing_ok=True)
        build.write_config(make(name), out, build.compiler_environment(), text)
        stamp.write_text(state)
    return build.dropped_options(lines, (out / '.config').read_text())


def targets(name):
    """Return drivers/virtio/, and the objects that the patches touch elsewhere."""
    config = (FOLDER / name / '.config').read_text().splitlines()
    objects = [file[:-1] + 'o' for file in present('*.c')
               if not file.startswith(('drivers/virtio/', 'tools/'))
               and (file not in OPTIONAL or OPTIONAL[file] in config)]
    other, option = OTHER_BALLOON
    return [*objects, *[other] * (option in config), 'drivers/virtio/']


def compile_touched(name, title, *options):
    """Build the touched files in the worktree; return the output."""
    configure(name)
    return run_checker(f'{title}, {name}', [*make(name), *options, *targets(name)],
                f'each-{name}.log')


def compile_qemu(title):
    """Build the files that the QEMU patches change, without fuzzers; a warning fails."""
    source = SOURCE.with_name('qemu')
    unit = 'tests/unit/test-virtio-balloon-pages'
    tests = ['tests/qtest/qos-test', *[unit] * (source / f'{unit}.c').exists()]
    build.build_qemus(title, source, FOLDER / 'qemu', 'each-qemu',
                      ['x86_64', 's390x'], *tests)


def findings(text):
    """Count each warning and error in a log, without regard to line numbers."""
    return Counter(re.sub(r':\d+', '', line) for line in text.splitlines()
                   if re.search(r'\b(warning|error):', line, re.I))


def build_sparse(folder):
    """Compile sparse, with room for the strings of tracepoints and KUnit."""
    header = folder / 'token.h'
    header.write_text(re.sub(r'(?m)^(#define MAX_STRING) 8191$', r'\1 262143',
                             header.read_text()))
    run_logged('sparse', ['make', '-C', folder, 'CC=gcc', 'sparse'], 'sparse.log')


def sparse():
    """Return the command that runs a sparse which can read this kernel."""
    # Debian 12's cannot: 0.6.4 takes valid constant expressions for bad ones, and
    # after an error it leaves out the rest of a file. __typeof_unqual__ is in no
    # release; to __typeof__ a const that stays would be an error, and there is none.
    home = archive.tool('sparse', build_sparse)
    return f'{home}/sparse -D__typeof_unqual__=__typeof__'


def run_sparse(title):
    """Run sparse on the touched files in the worktree; return the output."""
    return compile_touched('x86_64', title, 'C=2', f'CHECK={sparse()}')


def coccicheck(title, *options):
    """Count what coccicheck reports of the touched files in the worktree."""
    configure('x86_64')
    folder = FOLDER / 'coccicheck'
    shutil.rmtree(folder, ignore_errors=True)
    for file in present('*.c', '*.h'):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / file, folder / file)
    text = run_checker(f'coccicheck, {title}',
                       [*make('x86_64'), 'coccicheck', 'MODE=report',
                        f'M={folder}', f'J={jobs()}', *options], 'coccicheck.log')
    return Counter(re.sub(r':[\d:-]+|\bline \d+', ':', line)
                   for line in text.splitlines() if re.match(r'\S+:\d+:', line))


def kernel_doc(title):
    """Count kernel-doc's warnings of the touched files in the worktree."""
    return findings(run_checker(f'kernel-doc, {title}',
                                ['scripts/kernel-doc', '-none', '-Wall',
                                 *present('*.c', '*.h')], 'kernel-doc.log', cwd=SOURCE))


def html(title):
    """Count Sphinx's warnings about the touched files, in the folders of documents."""
    # A path in /sys makes it read all of Documentation/ABI, which has faults.
    out = FOLDER / 'html'
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    folders = {file.rsplit('/', 1)[0].removeprefix('Documentation/')
               for file in touched('Documentation/*.rst')}
    text = run_checker(f'documentation, {title}',
                       ['make', '-C', SOURCE, f'O={out}', 'htmldocs',
                        f"SPHINXDIRS={' '.join(sorted(folders))}"], 'htmldocs.log')
    if not any(out.rglob('*.html')):
        raise Failure('htmldocs wrote no page: see htmldocs.log')
    return Counter({line: count for line, count in findings(text).items()
                    if any(file in line for file in touched())})
