"""The edges: each fences one outside thing and turns its exceptions into ours.

What belongs here: translation, never a decision. Edges do not import each other (but `http`, the
one place that makes HTTP sessions), nor `config`; plain arguments reach them from `app`.
"""
