"""What surrounds the step: runs and their folders, sweeps, trackers, and the comparison of finished runs."""
