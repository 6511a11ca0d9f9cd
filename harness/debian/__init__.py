# SPDX-License-Identifier: GPL-2.0-or-later
"""Get things from Debian: packages for this machine, and base sources and tools."""
