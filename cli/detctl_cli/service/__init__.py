"""The CLI's side of the contract: a channel, calls, and what their errors mean to a user."""

import os

_NAME = "GRPC_VERBOSITY"
if _NAME not in os.environ:
    # gRPC reads as it is loaded how much its C part may write on stderr: nothing, since every failure is told by us. Not left in the
    # environment, which trainings inherit.
    os.environ[_NAME] = "NONE"
    import grpc  # noqa: F401

    del os.environ[_NAME]
