"""A suspect behind a Python function of the auditor's own, in a process of its own."""
