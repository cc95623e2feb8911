"""Types of the module ``kinprint``: the names that it loads when they are first used."""

from audit.api import audit_suspect as audit_suspect
from audit.api import open_bundle as open_bundle
from audit.api import open_described as open_described
from audit.api import open_file as open_file
from audit.api import open_function as open_function
from audit.api import open_remote as open_remote
from audit.verdict.outcome import Outcome as Outcome
from audit.verdict.outcome import Verdict as Verdict

def main() -> None: ...
