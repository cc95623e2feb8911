"""Suspects' processes that have been taken over, and kernels that can do less than this one."""
