"""Other tools' settings as policies that choose the same tags.

`imported` is what an importer gives, `objects` how it reads manifests; then one module for each tool.
"""
