# SPDX-License-Identifier: GPL-2.0-or-later
"""Do bitmaps earn their place? Bytes of page sets as runs only, as bitmaps only, as both.

Each guest of --touched GiB is asked for its unused pages once, then gives half of its
memory. QEMU's trace has the pages of each message, in their order. The shortest records
for them are computed: runs only; bitmaps only, with units of any size; both, with bitmaps
of single pages, as the driver has them, which must agree with QEMU's counters; both, with
bitmaps of any unit. Headers are counted, as the driver's messages of 4096 bytes have them.

idle         has just booted
pieces       most of the free memory lies in pieces of 192 KiB (constructed)
small files  80,000 files of 1 to 64 KiB were read, which is about all of memory, and every
             fifth of them again; a program took a quarter of memory, and exited
compile      gcc has compiled and linked programs, two at a time, and exited
uptime       four times: some compiling, a fifth of the files read, a program that comes
             and goes, another that comes and stays for a while, all by a seed; the last two
             are still there
machine      this machine, whatever it has run: its free pages, once; as root

A round is in a new guest, and its number is the seed.
"""

import math
import os
import random
import re
import shutil
from array import array
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import report
from bench.inflate import options, whole
from bench.states import scan
from harness.common import ROOT, SRC, Failure, capture, say
from harness.disk import make_image
from harness.limits import PROGRAM
from harness.vm import MIB, PAGE, Guest
from harness.workloads import idle, pieces

# -- Bytes ------------------------------------------------------------------

MESSAGE, RECORD = 4096, 8
# log2 of 4 KiB pages in a unit, up to 4 MiB; the longest bitmap in words
UNITS, WORDS = range(11), 64
# In the order of the table: whether there are runs, and the units of bitmaps.
FORMS = {'runs only': (True, ()), 'bitmaps only': (False, UNITS), 'both': (True, (0,)),
         'both, any unit': (True, UNITS)}
# How far the driver may be from the computed numbers.
AGREES = 0.05


def split(first, nr, most):
    """Cut pages into as few pieces as there are, each of at most so many units."""
    while nr:
        unit = max(0, nr.bit_length() - most.bit_length())
        unit += nr >> unit > most
        count = min(nr >> unit, most) << unit
        yield first, count
        first, nr = first + count, nr - count


def encode(runs, plain, units):
    """Return the bytes of the shortest records for (first page, pages) in their order."""
    found = [piece for run in runs for piece in split(*run, 255 if plain else 64)]
    best = [0] * (len(found) + 1)
    for i in reversed(range(len(found))):
        # Alone: a run, or a bitmap of one word.
        best[i] = best[i + 1] + RECORD * (1 if plain else 2)
        for unit in units:
            words = 0
            for j in range(i, len(found)):
                start, nr = found[j][0] - found[i][0], found[j][1]
                end = ((start + nr >> unit) + 63) // 64
                own = ((nr >> unit) + 63) // 64
                # After a gap of a word, a new bitmap is no longer.
                if (start | nr) & (1 << unit) - 1 or end > min(words + own, WORDS):
                    break
                words = end
                best[i] = min(best[i], best[j + 1] + RECORD * (1 + words))
    return best[0]


def weigh(messages, header):
    """Return {form: bytes} of messages, lists of runs."""
    def with_headers(size):
        return size + -(-size // (MESSAGE - header)) * header
    return {name: sum(with_headers(encode(runs, *form)) for runs in messages)
            for name, form in FORMS.items()}


# -- Pages ------------------------------------------------------------------

TRACE = ('virtio_balloon_discard', 'virtio_balloon_pages_message',
         'virtio_balloon_request_answer', 'virtio_balloon_request_pages')


def join(runs):
    """Return runs in ascending order, with adjacent runs merged."""
    found = []
    for first, nr in sorted(runs):
        if found and sum(found[-1]) == first:
            found[-1] = (found[-1][0], found[-1][1] + nr)
        else:
            found.append((first, nr))
    return found


def read_trace(lines):
    """Return the messages of an inflate, and of an answer, as lists of runs."""
    inflate, answer, runs = [], [], []
    for line in lines:
        numbers = [int(text, 0) for text in re.findall(r': (0x[\da-f]+|\d+)', line)]
        if 'virtio_balloon_discard' in line:
            # The guest's memory is one block.
            runs.append((numbers[-2] // PAGE, numbers[-1] // PAGE))
        elif 'virtio_balloon_pages_message' in line:
            inflate.append(join(runs))
            runs = []
        elif 'virtio_balloon_request_answer' in line:
            answer.append([])
        elif 'virtio_balloon_request_pages' in line:
            answer[-1].append(tuple(numbers[-2:]))
    # The last is DONE.
    return inflate, answer[:-1]


def free_pages(flags):
    """Return runs of free pages by the content of /proc/kpageflags."""
    # Bit 10 is KPF_BUDDY.
    free = bytes(word >> 10 & 1 for word in array('Q', flags))
    return [(found.start(), len(found[0])) for found in re.finditer(b'\1+', free)]


def measure_machine():
    """Return {name: value} of the free pages of this machine."""
    with open('/proc/kpageflags', 'rb', buffering=0) as file:
        runs = free_pages(b''.join(iter(lambda: file.read(MIB), b'')))
    # About as many runs as a message of bitmaps holds.
    messages = [runs[i:i + 1000] for i in range(0, len(runs), 1000)]
    return {'pages': sum(nr for _, nr in runs), 'runs': len(runs),
            **weigh(messages, 24)}


def measure_one(guest):
    """Return {kind of set: {name: value}} of one guest."""
    counted = {'answer': scan(guest)['bytes'] - 24}
    before = guest.counters()
    guest.balloon_to(guest.memory // 2)
    after = guest.counters()
    counted['inflate'] = after['inflate-bytes'] - before['inflate-bytes']
    text = guest.trace_log.read_text(encoding='utf-8', errors='replace')
    inflate, answer = read_trace(text.splitlines())
    found = {}
    for kind, messages, header in (('inflate', inflate, 8), ('answer', answer, 24)):
        sizes = weigh(messages, header)
        pages = sum(nr for runs in messages for _, nr in runs)
        found[kind] = {'pages': pages, 'runs': sum(map(len, messages)),
                       'driver': counted[kind], **sizes}
        say(f'  {guest.name}: {kind}: {found[kind]}')
        if abs(counted[kind] / sizes['both'] - 1) > AGREES:
            raise Failure(f'{guest.name}: {kind}: {counted[kind]} bytes were counted, '
                          f"and {sizes['both']} computed")
    if found['inflate']['pages'] != after['inflate-pages'] - before['inflate-pages']:
        raise Failure(f'{guest.name}: the trace does not have all pages')
    return found


# -- States -----------------------------------------------------------------

FILES, FOLDERS = 80_000, 400
PACKAGES = ('gcc', 'gcc-12', 'cpp-12', 'libgcc-12-dev', 'binutils-x86-64-linux-gnu',
            'binutils', 'libc6', 'libc6-dev', 'libgcc-s1', 'linux-libc-dev')
SCRIPTS = ('unifdef', 'kallsyms', 'insert-sys-cert')


def small_file_sizes():
    """Return the sizes of files: log-normal around 12 KiB, 1 to 64 KiB."""
    rng = random.Random(1)
    return [int(min(max(rng.lognormvariate(math.log(12), 1), 1), 64) * 1024)
            for _ in range(FILES)]


def fill_with_files(folder):
    """Make small files."""
    block = os.urandom(64 * 1024)
    for number, size in enumerate(small_file_sizes()):
        path = Path(folder, str(number % FOLDERS))
        path.mkdir(exist_ok=True)
        (path / str(number)).write_bytes(block[:size])


def fill_with_compiler(folder):
    """Copy the C compiler of this machine, and the sources that it is to compile."""
    root = Path(folder)
    for name in ('lib', 'lib64'):
        (root / 'usr' / name).mkdir(parents=True)
        (root / name).symlink_to(f'usr/{name}')
    for name in ('tmp', 'dev', 'src', 'out'):
        (root / name).mkdir()
    cc1 = capture(['gcc', '-print-prog-name=cc1']).strip()
    libraries = {path for program in (cc1, '/usr/bin/ld', '/usr/bin/as')
                 for path in re.findall(r'(/\S+) \(', capture(['ldd', program]))}
    paths = {path for path in capture(['dpkg', '-L', *PACKAGES]).splitlines()
             if os.path.isfile(path) and '/share/' not in path}
    for path in libraries | paths:
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        # Symbolic links become files.
        shutil.copy(path, target)
    scripts = SRC / 'linux/scripts'
    shutil.copytree(scripts / 'include', root / 'src/include')
    for path in (*ROOT.glob('guest/*.[ch]'), *(scripts / f'{name}.c' for name in SCRIPTS)):
        shutil.copy(path, root / 'src')


def disk_args():
    """Return QEMU's arguments for the two disks: writes to them are forgotten."""
    files = sum(-(-size // PAGE) * PAGE for size in small_file_sizes())
    images = (make_image('small-files', files * 9 // 8, fill_with_files),
              make_image('compiler', 512 * MIB, fill_with_compiler))
    return [word for image in images for word in (
        '-drive', f'if=virtio,format=raw,snapshot=on,file.locking=off,file={image}')]


def mount(guest):
    """Mount the disks; return the names of the programs that can be compiled."""
    guest.run('for disk in a b; do mkdir /tmp/$disk && mount -t ext4 /dev/vd$disk '
              '/tmp/$disk || exit 1; done; mount -t devtmpfs dev /tmp/b/dev')
    return guest.run('cd /tmp/b/src && ls *.c').split()


def build(guest, names):
    """Compile and link programs, two at a time."""
    guest.run(f"printf '%s\\n' {' '.join(names)} | PATH=/bin:/usr/bin xargs -P 2 -I F "
              'chroot /tmp/b gcc -O1 -pthread -I/src/include /src/F -o /out/F.out', PROGRAM)


def read_files(guest, names='*'):
    """Read the files of these names in all folders."""
    guest.run(f'cd /tmp/a && for folder in [0-9]*; do cat $folder/{names} || exit 1; done '
              '> /dev/null', PROGRAM)


def read_a_fifth(guest, rng):
    """Read every fifth file of each folder."""
    # In a folder the hundreds are all odd, or all even.
    read_files(guest, f"*[{rng.choice('02468')}{rng.choice('13579')}]??")


@contextmanager
def small_files(guest, seed):
    """Page cache of small files, of which some is gone."""
    rng = random.Random(seed)
    mount(guest)
    read_files(guest)
    read_a_fifth(guest, rng)
    guest.run(f'memfill {guest.memory // 4 // MIB}')
    yield


@contextmanager
def compiled(guest, _seed):
    """A compiler has come and gone."""
    build(guest, mount(guest))
    yield


@contextmanager
def uptime(guest, seed):
    """Compiler, files and programs have come and gone for a while."""
    rng, names, running = random.Random(seed), mount(guest), []
    with ExitStack() as stack:
        for number in range(4):
            # Each has its own name, by which start() waits for it.
            guest.run(f'ln -s churn /bin/churn{number}')
            job = guest.start(f'churn{number} -r 20 -s {seed * 100 + number} '
                              f'{rng.randrange(64, 256)}')
            running.append(job)
            stack.callback(lambda job=job: job.running and job.end())
            build(guest, rng.sample(names, 3))
            read_a_fifth(guest, rng)
            guest.run(f'memfill {rng.randrange(100, 700)}')
            if len(running) > 2:
                running.pop(0).end()
        yield


# Name in the table -> the state, whether it needs disks
STATES = {
    'idle': (lambda guest, _: idle(guest), False),
    'pieces': (lambda guest, _: pieces(guest), False),
    'small files': (small_files, True),
    'compile': (compiled, True),
    'uptime': (uptime, True),
    'machine': (None, False),
}


# -- The program ------------------------------------------------------------

def more_options(parser):
    """Add the states to the command line."""
    options(parser)
    parser.add_argument('--states', type=report.some_of(STATES), default=list(STATES),
                        help=','.join(STATES))


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    data = {'header': report.environment() | {'gib': args.touched}, 'states': {}}
    for name in args.states:
        state, has_disks = STATES[name]
        if name == 'machine':
            try:
                data['states'][name] = {'answer': {'driver': []} | {
                    key: [value] for key, value in measure_machine().items()}}
            except OSError as error:
                say(f'/proc/kpageflags: {error}')
            continue
        runs = data['states'][name] = {kind: defaultdict(list)
                                       for kind in ('inflate', 'answer')}
        for seed in range(1, args.rounds + 1):
            say(f'{name}, seed {seed}')
            guest = Guest(memory=whole(args.touched), page_bitmap=True, host_request=True,
                          trace=TRACE, args=disk_args() if has_disks else (),
                          name=f"bench-encoding-{name.replace(' ', '-')}-{seed}")
            guest.trace_log.unlink(missing_ok=True)
            with guest:
                guest.load_balloon()
                with state(guest, seed):
                    for kind, found in measure_one(guest).items():
                        for key, value in found.items():
                            runs[kind][key].append(value)
            guest.trace_log.unlink()
    return data


def saved(found, form):
    """Return how much of the bytes a form saves against runs only, in percent."""
    return [100 - 100 * value / runs for value, runs
            in zip(found[form], found['runs only'])]


def rows(data):
    """Return the table's lines, as lists of cells."""
    yield ['guest', 'n', 'pages', 'runs', *FORMS, 'driver', 'both saves, %', 'any unit, %']
    for state, kinds in data['states'].items():
        for kind, found in kinds.items():
            yield [f'{state}: {kind}', report.count_rounds(found),
                   *(report.cell(found[key])
                     for key in ('pages', 'runs', *FORMS, 'driver')),
                   *(report.cell(saved(found, form), digits=1)
                     for form in ('both', 'both, any unit'))]
            yield ['  bytes/page', '', '', '', *(
                report.cell([size / pages for size, pages
                             in zip(found[key], found['pages'])], digits=5)
                for key in (*FORMS, 'driver')), '', '']


def show(data):
    """Print header and table."""
    gib = data['header']['gib']
    say(f'\nBytes of page sets: guests of {gib:g} GiB give {gib / 2:g} GiB (inflate), and '
        'name their unused pages (answer)')
    say(report.describe_host(data['header']))
    say('median (minimum to maximum) of n rounds, each in a new guest, with the seeds '
        '1 to n\n')
    report.table(list(rows(data)))


if __name__ == '__main__':
    report.run(__doc__, 'encoding', 3, more_options, measure, show)
