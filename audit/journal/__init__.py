"""Every answer on disk before it is used; the only place with SQL."""
