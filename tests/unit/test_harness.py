# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, their reports, and that collecting tests needs nothing built."""

import importlib
import json
import re
import shutil
import time
from types import SimpleNamespace

import pytest

from harness import __main__ as commands
from harness import build, run
from harness.common import ROOT, capture
from harness.vm import GuestTimeout, balloon
from harness.vm.host import write_qemu_wrapper
from harness.vm.inside import Inside
from tests.support.files import list_files

pytestmark = pytest.mark.check


def test_makefile_has_every_command():
    """The Makefile passes on what harness/__main__.py lists, and nothing else."""
    text = (ROOT / 'Makefile').read_text(encoding='utf-8').replace('\\\n', '')
    names = re.search(r'(?m)^COMMANDS := (.*)$', text)[1].split()
    assert sorted(names) == sorted(commands.COMMANDS)
    assert names[0] == 'all'


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_command_has_a_function(name):
    """The function that the table names for a command exists."""
    module, function = commands.COMMANDS[name][0].rsplit('.', 1)
    assert callable(getattr(importlib.import_module(f'harness.{module}'), function))


def test_collecting_needs_nothing_built(tmp_path):
    """In a fresh clone pytest collects every test, and builds nothing."""
    for name in list_files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    capture([run.PYTHON, '-B', '-m', 'pytest', '--collect-only', '-q', '-m', ''],
            cwd=tmp_path)
    assert not (tmp_path / 'build').exists()


def test_qemu_wrapper_adds_firmware_and_options(tmp_path):
    """A wrapper passes on firmware, its options, then its arguments, as they are."""
    wrapper = write_qemu_wrapper(tmp_path / 'qemu', '/usr/bin/echo', '-accel', 'tcg')
    out = capture([wrapper, '-m', 'a  b'])
    assert re.fullmatch(r'(-L /\S+ )+-accel tcg -m a  b\n', out)


def test_dropped_kernel_option_is_named():
    """An option that olddefconfig threw away does not go unnoticed."""
    config = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n'
    fragment = '# a comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=y\n'
    assert build.dropped_options(fragment, config) == ['CONFIG_C=y', 'CONFIG_D=y']


def test_skips_count_as_failures(tmp_path):
    """The last line of make test counts skipped tests as failed."""
    junit = tmp_path / 'tests.xml'
    junit.write_text('<testsuites><testsuite errors="1" failures="2" '
                     'skipped="3" tests="10"><testcase/></testsuite></testsuites>')
    assert run.summary(junit) == (4, 6)
    assert run.summary(tmp_path / 'none.xml') == (0, 0)


def test_rows_of_all_parts_are_one_table(tmp_path, monkeypatch, capsys):
    """The reports of both parts of make test-field are printed once, in order."""
    for name, row in (('a', 'F10-saved'), ('b', 'F2-reading')):
        value = json.dumps({'row': row, 'stock': '1', 'ours': '2', 'must': '<= 1',
                            'green': name == 'a'}).replace('"', '&quot;').replace(
                                '<', '&lt;')
        (tmp_path / name).write_text(
            f'<testsuites><testsuite><testcase><properties><property name="row" '
            f'value="{value}"/></properties></testcase></testsuite></testsuites>')
    monkeypatch.setattr(run, 'PARTS', {name: tmp_path / name for name in 'ab'})
    monkeypatch.setattr(run, 'BUILD', tmp_path)
    run.print_rows()
    out = capsys.readouterr().out
    assert 0 < out.index('F2-reading') < out.index('F10-saved')
    assert out.endswith('1 green, 1 red\n')
    assert len(json.loads((tmp_path / 'field.json').read_text())) == 2


def test_other_events_do_not_prolong_a_wait():
    """A wait for an event ends in time, however many others come; none is lost."""
    class Guest(balloon.Balloon):
        """A guest from which one kind of event comes without end."""
        name, _unclaimed = 'guest', []
        console_tail = str
        _vm = SimpleNamespace(get_qmp_event=lambda _left: time.sleep(0.01) or {
            'event': 'RESUME'}, get_qmp_events=lambda: [])

    guest, started = Guest(), time.monotonic()
    with pytest.raises(GuestTimeout, match='no event END within 0.2 s'):
        guest.event('END', timeout=0.2)
    assert time.monotonic() - started < 5
    assert guest.event('RESUME') == {'event': 'RESUME'}


def test_output_of_an_earlier_run_is_gone():
    """A program that starts again is not ready because it was ready before."""
    class Fake(Inside):
        """A guest in which a spawned shell has not got anywhere yet."""
        files = {'stall': 'ready'}

        def run(self, text, timeout=0, check=True):
            """Remove a file, or return its content."""
            name = text.split('/tmp/')[1].split()[0]
            return self.files.pop(name, '') if text.startswith('rm') \
                else self.files.get(name, '')

        def spawn(self, text):
            """Start nothing."""
            return SimpleNamespace(running=True)

        def wait_for(self, condition, *_):
            """Poll once."""
            assert not condition()
    assert Fake().start('stall 64').running
