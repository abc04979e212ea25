"""Run the same comparison on a Spark cluster, which only runs tasks and moves bytes.

Spark never sees a cell. Tasks exchange packets, which are routed by a number, in four
shuffles:

    spans    --digests of all rows, by bucket of keys-->  drop identical rows
    buckets  --places of the remaining rows, by span-->   read these rows again
    spans    --their bytes, by bucket-->                  pair and compare
    buckets  --changes, by column-->                      patterns, hints and sums

Each step runs the code of the local engine: CSV reader, digests, pairing, causes. The
result of a bucket is a `PartialResult`. Partial results are merged on the cluster, each
with at most as many details as the detail limit, so the driver gets one small result
whatever the size of the inputs. Every task may run again, or twice at once: it returns
the same packets, and writes only files that are named by its bucket.

Reading order: `driver` plans the work, `splits` and `split_tasks` cut the files into
spans, `tasks` are the first three steps and `column_changes` the fourth, `rows` are the
rows between them, and `findings` come back. `packets` has the protocol of a cluster,
and `session` implements it on Spark. May import `compare` and everything below it;
never `postgres`, `pipeline` or a terminal.
"""
