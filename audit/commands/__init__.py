"""One file per command, each a click command object named `command`."""
