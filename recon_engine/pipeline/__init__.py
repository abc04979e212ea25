"""Run the ten steps: from two inbound files to a recorded, archived result.

Reading order: `runner`, `inbox`, `locations`, `staging`, `archive`; `doctor` checks a
configuration, `demo` makes a pair and runs it. May import every other package.
"""
