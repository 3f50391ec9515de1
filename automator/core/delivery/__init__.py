"""Delivery: the releases of a config repo's history as values, and what can be told from them.

`change` is one workload's part of one commit, `moves` finds those that no trailer tells, `fate` says what
became of each, `figures` counts, `stations` says where the time went, `summary` puts a report together;
`plots` and `page` write it as HTML. docs/metrics.md defines every figure.
"""
