# SPDX-License-Identifier: GPL-2.0-or-later
"""How long anything may take before it counts as hung, in seconds.

Not a test of speed: no limit is closer than a factor of five to the time that the longest
case takes on a quiet machine with two cores. Where promptness is tested, the test has it.
"""

# Anything that a guest or its QEMU does: boot, a command, a balloon target, an event, a
# migration. The longest takes 60 s.
COMMAND = 300
# A test program of the kernel or of QEMU that runs many cases in one process: 120 s.
PROGRAM = 1200
# A migration that is not within its downtime after this long is allowed more, and goes
# on: it takes 8 s.
CONVERGE = 40
# One run of kunit.py: build and tests of one kernel, 10 minutes.
KUNIT = 3600
# One boot of a kernel that runs its suites: 3 minutes.
SUITES = 1200
# A run of pytest within a test, 30 minutes.
SESSION = 3 * 3600
