"""The gRPC server: addresses, settings, interceptors and the metrics endpoint."""
