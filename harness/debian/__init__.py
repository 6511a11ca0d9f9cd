# SPDX-License-Identifier: GPL-2.0-or-later
"""Get things from Debian: the packages of this machine, and base sources and tools.

packages  install what building and testing need
apt       ask the archive about a suite, beside the system's own package lists
archive   find, download and unpack what base/*.conf names
"""
