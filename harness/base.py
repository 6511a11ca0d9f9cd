# SPDX-License-Identifier: GPL-2.0-or-later
"""The name under which some modules still import harness.debian.archive."""

from harness.debian.archive import *  # noqa: F403 pylint: disable=wildcard-import,unused-wildcard-import
