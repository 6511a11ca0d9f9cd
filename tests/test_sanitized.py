# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own tests of the device, in a build with ASan and UBSan."""

import pytest

from harness import fuzz


@pytest.mark.long
def test_under_sanitizers(huge_pages):
    """The unit test and all qtests pass; the sanitizers have nothing to say."""
    assert huge_pages.exists()
    assert fuzz.sanitized_tests() >= 80
