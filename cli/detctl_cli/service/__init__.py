"""The client side of the contract: a channel, calls, and errors for users."""

import os

_NAME = "GRPC_VERBOSITY"
if _NAME not in os.environ:
    # When it is imported, gRPC reads how much its C code may write to stderr. It must write nothing, since detctl reports every
    # failure. The variable is removed again, because trainings inherit the environment.
    os.environ[_NAME] = "NONE"
    import grpc  # noqa: F401

    del os.environ[_NAME]
