"""Learning from corrections: what was decided, the next version of each family, its comparison with the one before."""
