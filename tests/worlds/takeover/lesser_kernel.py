"""A kernel that lacks some calls, for this process and all that it starts.

The calls answer as on a system that never had them, by a filter of the kernel's own.
"""

from adapters.onnx.process.seccomp import CallFilter, install

LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
NAMESPACES = ("unshare",)


def without(calls: tuple[str, ...]) -> None:
    """Take calls away from this process for good."""
    assert install(CallFilter(allowed={}, refused=calls, others_pass=True))
