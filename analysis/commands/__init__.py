"""The commands of `python -m analysis`, one file each: arguments and what is printed."""
