"""What Git LFS leaves in place of a file that was cloned and not fetched."""

from __future__ import annotations

from pathlib import Path

POINTER = b"version https://git-lfs"  # begins it
POINTED = "a Git LFS pointer and not the file itself; fetch it with `git lfs pull`, or download it again"
LONGEST = 1024  # bytes, of a pointer


def is_pointer(path: Path) -> bool:
    """Whether a file is such a pointer; False for one that cannot be read, which whoever opens it will say."""
    try:
        if path.stat().st_size > LONGEST:
            return False
        with open(path, "rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
