"""Features by match id: the online store, the cache before it, and watching what changes."""
