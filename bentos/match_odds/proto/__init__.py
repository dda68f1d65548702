"""The gRPC contract: match_odds.proto, its generated stubs, and the way between its messages and contract.py's."""
