"""The commands, by subject: each is one call into the engine and one rendering.

May import everything of `recon_cli` but `app` and `entry`, and everything of
`recon_engine`; the latter inside functions if it is slow to import.
"""
