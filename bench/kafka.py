"""Kafka -> filter -> Kafka on one broker, beside a bare loop of librdkafka, Kafka Streams and Bytewax.

usage: kafka.py [--messages N] [--skip throughput|latency|memory]... [VARIANT]...

Needs the service: cargo xtask services up kafka. Without names all variants are measured; what is measured replaces
what results/kafka.json held of the same variant, and leaves the others.
"""

import sys

import harness

if __name__ == "__main__":
    harness.in_environment()
    sys.path.insert(0, str(harness.HERE / "kafka"))
    import compare

    try:
        compare.main(__doc__)
    except KeyboardInterrupt:
        sys.exit(130)
