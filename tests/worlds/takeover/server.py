"""The process that forks suspects', with foreign code in the parser's place."""

from adapters.onnx.process import fork_server
from worlds.takeover.attack import take_over

if __name__ == "__main__":
    take_over()
    fork_server.main()
