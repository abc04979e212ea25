"""The same reconciliation on Spark, which runs tasks and moves bytes, and nothing else.

Spark never sees a cell. What goes from task to task are packets of ours, routed by a
number, in four shuffles:

    spans    --digests of all rows, by bucket of keys-->  drop what is identical
    buckets  --the places of what is left, by span-->     read these rows again
    spans    --their bytes, by bucket-->                  pair and compare
    buckets  --changes, by column-->                      patterns, hints and sums

Each step is the code of the local engine: the gate, the digests, `rest`, `differences`,
`rule_hints`. What is found of a bucket is a `Partial`; these are merged on the cluster,
each with no more to show than the detail limit, so the driver gets one, whatever the
size of the inputs. Every task may be run again, or twice: it writes nothing but files
that only its bucket names, and answers the same.

`driver` asks, `counting` cuts the files into spans, `tasks` are the first three steps,
with `rows` on their way between them, `telling` is the fourth, and `findings` are what
comes back. `packets` is all that is asked of a cluster, and `session` is Spark's.
"""
