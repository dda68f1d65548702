"""The two ways in, HTTP and gRPC, and who may come in."""
