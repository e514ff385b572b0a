"""The commands of explore-rl, one file each: arguments and what is printed; the work is done elsewhere."""
