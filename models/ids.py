"""The bounds of ids from outside: databases have none beyond them, and their drivers fail over larger numbers."""

from __future__ import annotations

LARGEST_ID = 2**63 - 1
