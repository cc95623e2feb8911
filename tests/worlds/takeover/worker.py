"""A suspect's process as it is started afresh, with foreign code in the parser's place."""

from adapters.onnx.process import worker
from worlds.takeover.attack import take_over

if __name__ == "__main__":
    take_over()
    worker.main()
