# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's counters and tracepoints agree with QEMU's."""

import re

import pytest

from harness.vm import GIB, MIB, PAGE
from tests.support.protocol import SYNC

TRACING = '/sys/kernel/tracing'
EVENT = re.compile(r'virtio_balloon_(\w+): (dev=.*)')


def traced(guest):
    """Return the events of the balloon so far: [(name, {field: text})]."""
    return [(name, dict(word.split('=') for word in fields.split()))
            for name, fields in EVENT.findall(guest.read(f'{TRACING}/trace'))]


def total(events, name, field, **match):
    """Return the sum of a field of events, and how many there are."""
    values = [int(fields[field]) for event, fields in events
              if event == name and match.items() <= fields.items()]
    return sum(values), len(values)


@pytest.fixture(name='guest')
def fixture_guest(boot):
    """A guest that writes down all events of the balloon."""
    guest = boot(memory=GIB, page_bitmap=True, host_request=True, append=SYNC)
    guest.run(f'echo 1 > {TRACING}/events/virtio_balloon/enable')
    return guest


def test_messages_and_blocks(guest):
    """Events and counters name each message and block; QEMU's are the same."""
    guest.balloon_to(500 * MIB)
    guest.balloon_to(900 * MIB)
    there, here = guest.driver_counters(), guest.counters()
    events = traced(guest)
    for queue, role in (('0', 'inflate'), ('1', 'deflate')):
        pages, messages = total(events, 'tell', 'pages', queue=queue)
        answers = [fields['status'] for name, fields in events
                   if name == 'told' and fields['queue'] == queue]
        assert answers == ['OK'] * messages
        assert pages == here[f'{role}-pages'] == there[f'{role}_pages']
        assert messages == here[f'{role}-messages'] == there[f'{role}_messages']
        assert messages == there[f'{role}_ok']
    assert here['inflate-pages'] == 524 * MIB // PAGE
    assert here['deflate-pages'] == 400 * MIB // PAGE
    taken = sum(int(fields['blocks']) << int(fields['order'])
                for name, fields in events if name == 'take')
    assert taken == 524 * MIB // PAGE


def test_requests(guest):
    """Events and counters name each request and answer; QEMU's are the same."""
    ended = [guest.request(kind) for kind in
             ('unused-pages', 'sync', 'reclaim', 'unused-pages')]
    events = traced(guest)
    asked = [fields for name, fields in events if name == 'request']
    assert [fields['type'] for fields in asked] == \
        ['UNUSED_PAGES', 'SYNC', 'RECLAIM', 'UNUSED_PAGES']
    done = [fields for name, fields in events
            if name == 'answer' and fields['answer'] == 'DONE']
    assert [fields['id'] for fields in done] == [fields['id'] for fields in asked]
    assert [fields['status'].lower().replace('ok', 'done') for fields in done] == \
        [data['status'] for data in ended]
    for data, fields in zip(ended, asked):
        if data['type'] == 'unused-pages':
            pages, messages = total(events, 'answer', 'pages', answer='PAGES',
                                    id=fields['id'])
            assert messages and pages * PAGE == data['bytes'] > 100 * MIB
    there, here = guest.driver_counters(), guest.get('host-request-stats')
    assert there['request_unused_pages_ok'] == 2
    assert there['request_sync_ok'] == 1
    assert there['request_reclaim_ok'] + there['request_reclaim_partial'] == 1
    assert sum(value for name, value in there.items()
               if name.startswith('request_')) == 4
    assert there['answer_messages'] == sum(name == 'answer' for name, _ in events)
    pages, _ = total(events, 'answer', 'pages', answer='PAGES')
    assert there['answer_pages'] == pages == here['pages']
    assert here['requests'] == 4
    assert here['answers'] == there['answer_messages']
    assert here['answer-bytes'] == there['answer_bytes']
    assert not here['dropped'] and not here['rejected']
