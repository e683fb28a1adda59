/* The least that can stand between two topics: librdkafka reads, librdkafka writes, nothing is parsed.
 *
 * usage: loop BROKERS INPUT OUTPUT GROUP copy|filter atLeastOnce|exactlyOnce LINGER_MS
 *
 * `copy` passes each message on as it is; `filter` searches its bytes for the price. At least once: flushed and
 * committed each second. Exactly once: a transaction for each 100 ms in which something came. Ends at SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 1000
#define PRICE_ABOVE 5000000

static volatile sig_atomic_t stopped;
static rd_kafka_t *consumer, *producer;
static rd_kafka_topic_t *output;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "loop: %s: %s\n", what, why);
    exit(1);
}

static void check(rd_kafka_error_t *error, const char *what) {
    if (error)
        fail(what, rd_kafka_error_string(error));
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[512];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail(name, why);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[512];
    rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof why);
    if (!made)
        fail("client", why);
    return made;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk, (void)opaque;
    if (message->err)
        fail("delivery", rd_kafka_err2str(message->err));
}

static long long now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static int wanted(const rd_kafka_message_t *message) {
    static const char name[] = "\"price\":";
    const char *found = memmem(message->payload, message->len, name, sizeof name - 1);
    return found && strtol(found + sizeof name - 1, NULL, 10) > PRICE_ABOVE;
}

static void pass_on(const rd_kafka_message_t *message) {
    while (rd_kafka_produce(output, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, message->payload, message->len,
                            message->key, message->key_len, NULL) != 0) {
        if (errno != ENOBUFS)
            fail("produce", strerror(errno));
        rd_kafka_poll(producer, 10);
    }
}

/* What was consumed, so far. */
static rd_kafka_topic_partition_list_t *positions(void) {
    rd_kafka_topic_partition_list_t *list;
    if (rd_kafka_assignment(consumer, &list) || rd_kafka_position(consumer, list))
        fail("position", "not known");
    return list;
}

static void commit(int transactions) {
    rd_kafka_topic_partition_list_t *list = positions();
    if (transactions) {
        rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(consumer);
        check(rd_kafka_send_offsets_to_transaction(producer, list, group, -1), "offsets");
        check(rd_kafka_commit_transaction(producer, -1), "commit");
        check(rd_kafka_begin_transaction(producer), "begin");
        rd_kafka_consumer_group_metadata_destroy(group);
    } else {
        rd_kafka_flush(producer, 60000);
        rd_kafka_commit(consumer, list, 1);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

int main(int count, char **words) {
    if (count != 8)
        fail("usage", "loop BROKERS INPUT OUTPUT GROUP copy|filter atLeastOnce|exactlyOnce LINGER_MS");
    int filter = !strcmp(words[5], "filter"), transactions = !strcmp(words[6], "exactlyOnce");
    signal(SIGTERM, stop);
    signal(SIGINT, stop);

    rd_kafka_conf_t *reads = rd_kafka_conf_new(), *writes = rd_kafka_conf_new();
    set(reads, "bootstrap.servers", words[1]);
    set(reads, "group.id", words[4]);
    set(reads, "auto.offset.reset", "earliest");
    set(reads, "enable.auto.commit", "false");
    set(writes, "bootstrap.servers", words[1]);
    set(writes, "enable.idempotence", "true");
    set(writes, "compression.type", "lz4");
    set(writes, "linger.ms", words[7]);
    if (transactions)
        set(writes, "transactional.id", words[4]);
    rd_kafka_conf_set_dr_msg_cb(writes, delivered);
    consumer = client(RD_KAFKA_CONSUMER, reads);
    producer = client(RD_KAFKA_PRODUCER, writes);
    rd_kafka_poll_set_consumer(consumer);
    output = rd_kafka_topic_new(producer, words[3], NULL);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, words[2], RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    if (transactions) {
        check(rd_kafka_init_transactions(producer, -1), "transactions");
        check(rd_kafka_begin_transaction(producer), "begin");
    }

    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    rd_kafka_message_t *batch[BATCH];
    long long due = 0, every = transactions ? 100 : 1000;
    while (!stopped) {
        /* A batch with a timeout would wait for a full batch: take what is there, else wait for one message. */
        ssize_t got = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH);
        if (got <= 0 && (batch[0] = rd_kafka_consumer_poll(consumer, 10)))
            got = 1;
        for (ssize_t i = 0; i < got; i++) {
            if (batch[i]->err)
                fail("consume", rd_kafka_message_errstr(batch[i]));
            if (!filter || wanted(batch[i]))
                pass_on(batch[i]);
            rd_kafka_message_destroy(batch[i]);
        }
        rd_kafka_poll(producer, 0);
        long long now = now_ms();
        if (got > 0 && !due)
            due = now + every;
        if (due && now >= due) {
            commit(transactions);
            due = 0;
        }
    }
    if (due)
        commit(transactions);
    rd_kafka_flush(producer, 10000);
    rd_kafka_consumer_close(consumer);
    return 0;
}
