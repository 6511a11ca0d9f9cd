# SPDX-License-Identifier: GPL-2.0-or-later
"""Send mails with git send-email to an SMTP server of our own, and check them."""

import asyncio
import email
import email.policy
import os
import re
import signal
import tempfile
from collections import namedtuple
from email.utils import getaddresses

from aiosmtpd.smtp import SMTP

from harness import limits
from harness.common import Failure
from harness.git import PLAIN

# content: with the line ends of a file; recipients: addresses of the SMTP envelope
Mail = namedtuple('Mail', 'content message recipients')
LOOPBACK = '127.0.0.1'


def parse(content):
    """Return a mail's headers and body."""
    return email.message_from_bytes(content, policy=email.policy.default)


class Sink:
    """Keep the mails that an SMTP server takes."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        """Keep one mail; return the server's answer."""
        content = envelope.content.replace(b'\r\n', b'\n')
        self.mails.append(Mail(content, parse(content), envelope.rcpt_tos))
        return '250 OK'


def environment(folder, author):
    """Return an environment in which git has no configuration but the sender's name."""
    # A user's sendemail.* would redirect mails: from files, from the repository around
    # the working directory, or from GIT_CONFIG_COUNT and the like.
    return {**{name: value for name, value in os.environ.items()
               if not name.startswith('GIT_')},
            **PLAIN, 'GIT_CEILING_DIRECTORIES': os.path.dirname(folder),
            **{f'GIT_{role}_{part}': value for role in ('AUTHOR', 'COMMITTER')
               for part, value in zip(('NAME', 'EMAIL'), author)},
            'LC_ALL': 'C.UTF-8'}


def command_line(files, author, port):
    """Return git send-email's command line."""
    return ['git', 'send-email', f'--smtp-server={LOOPBACK}',
            f'--smtp-server-port={port}', '--smtp-encryption=none', '--smtp-auth=none',
            '--smtp-domain=localhost', f'--from={author[0]} <{author[1]}>',
            '--confirm=never', '--thread', '--no-chain-reply-to', '--8bit-encoding=UTF-8',
            '--suppress-cc=self', '--quiet', *map(str, files)]


async def deliver(files, author, sink):
    """Run git send-email on files while a sink takes the mails."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(sink, hostname='localhost', loop=loop), LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *command_line(files, author, port), cwd=folder,
            env=environment(folder, author), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), limits.COMMAND)
        except asyncio.TimeoutError:
            raise Failure(f'git send-email did not end within {limits.COMMAND} s'
                          ) from None
        finally:
            server.close()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    if process.returncode:
        lines = out.decode(errors='replace').strip().splitlines() or ['']
        raise Failure(f'git send-email stopped after {len(sink.mails)} of {len(files)} '
                      f'mails: {lines[0]}')


def send(files, author, sink=None):
    """Send files to a sink with git send-email; return the mails that arrived."""
    sink = sink or Sink()
    asyncio.run(deliver(files, author, sink))
    if len(sink.mails) != len(files):
        raise Failure(f'{len(sink.mails)} of {len(files)} mails arrived')
    return sink.mails


def addresses(message, *headers):
    """Return the addresses in some headers of a mail."""
    return [address for _, address in getaddresses(
        [str(value) for header in headers for value in message.get_all(header, [])])]


def faults(mail, number, count, author, version):
    """Yield the faults of one mail, apart from its place in the thread."""
    message = mail.message
    tag = re.match(rf'\[PATCH.*?{f" v{version}" if version > 1 else ""} '
                   rf'0*{number}/{count}\] \S', str(message['Subject']))
    if not tag:
        yield f'has the subject "{message["Subject"]}"'
    if getaddresses([str(message['From'])]) != [author]:
        yield f'comes from {message["From"]}'
    if not addresses(message, 'To') or not addresses(message, 'Cc'):
        yield 'has no To or no Cc'
    if set(mail.recipients) != set(addresses(message, 'To', 'Cc')):
        yield 'has other recipients on its envelope than in To and Cc'
    if not mail.content.split(b'\n\n')[0].isascii():
        yield 'has headers that are not ASCII'
    if message.get_content_type() != 'text/plain' or message.get(
            'Content-Transfer-Encoding', '7bit') not in ('7bit', '8bit',
                                                         'quoted-printable'):
        yield 'is not plain text'
    try:
        message.get_payload(decode=True).decode(message.get_content_charset('ascii'))
    except (UnicodeDecodeError, LookupError) as error:
        yield f'does not decode: {error}'


def check(mails, author, version, base):
    """Raise Failure unless the mails are a thread of a cover letter and patches."""
    first, found = mails[0].message, []
    for number, mail in enumerate(mails):
        found += [f'mail {number} {fault}' for fault in
                  faults(mail, number, len(mails) - 1, author, version)]
        if number and not (mail.message['In-Reply-To'] == first['Message-ID'] ==
                           mail.message['References']):
            found.append(f'mail {number} does not answer the cover letter')
    if first['In-Reply-To'] or len({str(mail.message['Message-ID'])
                                    for mail in mails}) != len(mails):
        found.append('the cover letter does not begin a thread')
    if f'\nbase-commit: {base}\n' not in first.get_content():
        found.append('the cover letter does not name the base commit')
    if found:
        raise Failure('; '.join(found))
