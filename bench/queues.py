"""A job queue: Headwater over HTTP beside the bare stores, RQ, Celery and BullMQ, each job on disk before the reply.

usage: queues.py [VARIANT]...

Needs redis-server (Debian), Node and npm, and a C compiler; for the variants of PostgreSQL: cargo xtask services up
postgres. Without names all variants are measured but `churn`, which takes long; what is measured replaces what
results/queue.json held of the same variant, and leaves the others.

(It isn't called queue.py, since that would hide the standard library's module of this name from all scripts here.)
"""

import sys

import harness

if __name__ == "__main__":
    sys.path.insert(0, str(harness.HERE / "queue"))
    import compare

    try:
        compare.main(__doc__)
    except KeyboardInterrupt:
        sys.exit(130)
