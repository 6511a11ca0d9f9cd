# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetch, build, boot and measure the patches for Linux and QEMU."""
