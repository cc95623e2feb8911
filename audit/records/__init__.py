"""Evidence: a signed record of an audit, and everything that checks one."""
