"""Retraining as front ends see it: a process of its own, and the folder that it writes."""
