"""The state in Redis or Valkey, for all workers of all replicas as one.

These modules need txredisapi and are imported only with `--state`.
"""
