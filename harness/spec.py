# SPDX-License-Identifier: GPL-2.0-or-later
"""The text for the virtio specification as a PDF."""

import re

from harness.common import BUILD, LOGS, ROOT, Failure, run_logged, say
from harness.debian import packages

SOURCE = ROOT / 'docs' / 'virtio-spec'
FOLDER = BUILD / 'spec'
NAME = 'virtio-balloon'
# Of the second run: faults for a reader that are no errors for LaTeX.
WARNINGS = r'LaTeX Warning: ((?:Reference|Label) .*(?:undefined|multiply defined).*)'


def latex():
    """Run LaTeX once; return its log."""
    log = FOLDER / f'{NAME}.log'
    shown = log.relative_to(ROOT)
    try:
        run_logged('LaTeX', ['pdflatex', '-interaction=nonstopmode', '-halt-on-error',
                             '-file-line-error', f'-output-directory={FOLDER}',
                             f'-jobname={NAME}', 'main.tex'], 'spec.log', cwd=SOURCE)
    except Failure:
        text = (LOGS / 'spec.log').read_text(encoding='utf-8', errors='replace')
        found = re.search(r'(?m)^(?:\./)?(\S+:\d+: .*|! .*)', text)
        raise Failure(f"LaTeX: {found[1] if found else 'failed'} (all of it: {shown})"
                      ) from None
    # LaTeX breaks lines at 79 characters.
    return re.sub(r'(?m)(?<=^.{79})\n', '', log.read_text(encoding='utf-8',
                                                          errors='replace'))


def pdf():
    """make spec: the PDF, with every reference in it resolved."""
    packages.install(packages.TYPESETTING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / f'{NAME}.pdf'
    target.unlink(missing_ok=True)
    latex()
    # Now the labels are known.
    if found := re.search(WARNINGS, latex()):
        target.unlink()
        raise Failure(f'LaTeX: {found[1]} (all of it: build/spec/{NAME}.log)')
    say(f'{target.relative_to(ROOT)} is written.')
