"""Where things run: Ray itself, who is placed where, and what happens to a process that dies or gets stuck."""
