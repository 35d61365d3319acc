/* Load generator for echo servers: keeps one request in flight on each of N connections.
 *
 *     echo_load PORT SERVER_PID CONNECTIONS MESSAGE_BYTES WARM_UP_SECONDS SECONDS [once]
 *
 * With "once" every connection makes one request, is closed after the reply, and is replaced by a new one.
 *
 * Prints one JSON object: requests answered in the window, CPU time of the server process over the
 * same window (user + system, read from its CPU clock), latency percentiles, and the number of
 * connections that were answered at least once.
 *
 * The warm-up begins when every connection has been answered once, or after PATIENCE seconds: servers differ in
 * how fast they accept, which is not what is measured.
 *
 * Invariant: a request that is still open when the window ends enters the latencies with the age it
 * has by then, so that a server which starves a connection cannot hide it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, BUFFER = 1 << 16, ADDRESSES = 250, PATIENCE = 10 };
enum { SUB_BITS = 6, SUBS = 1 << SUB_BITS, BUCKETS = 64 * SUBS };

struct connection {
    int fd;
    size_t awaited;   /* bytes of the reply still to come */
    int64_t sent_at;  /* nanoseconds */
    uint64_t replies; /* within the window */
    int known;        /* has been answered */
};

static char buffer[BUFFER];
static uint64_t histogram[BUCKETS]; /* latencies, 64 buckets per power of two */

static void check(long result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec time;
    check(clock_gettime(clock, &time), "clock_gettime");
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static unsigned bucket_of(uint64_t value) {
    if (value < SUBS)
        return value;
    unsigned shift = 63 - __builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * SUBS + ((value >> shift) & (SUBS - 1));
}

static uint64_t bucket_middle(unsigned bucket) {
    if (bucket < SUBS)
        return bucket;
    unsigned shift = bucket / SUBS - 1;
    return ((uint64_t)(SUBS + bucket % SUBS) << shift) + ((1ULL << shift) >> 1);
}

static uint64_t percentile(double share) {
    uint64_t total = 0, seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++)
        total += histogram[bucket];
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram[bucket];
        if (seen > 0 && seen >= share * total)
            return bucket_middle(bucket);
    }
    return 0;
}

/* A connected socket. They come from many addresses, because each of them has only so many ports. */
static int dial(int port) {
    static uint32_t dialled;
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + dialled++ % ADDRESSES)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd, "socket");
    check(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes), "setsockopt");
    check(bind(fd, (struct sockaddr *)&own, sizeof own), "bind");
    check(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "setsockopt");
    return fd;
}

static void request(struct connection *connection, size_t size) {
    static char message[BUFFER];
    connection->awaited = size;
    connection->sent_at = clock_ns(CLOCK_MONOTONIC);
    if (send(connection->fd, message, size, MSG_NOSIGNAL) != (ssize_t)size) {
        perror("send");
        exit(1);
    }
}

/* Reads what is there; true when the reply is complete. */
static int receive(struct connection *connection) {
    ssize_t got = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0 || (size_t)got > connection->awaited) {
        fprintf(stderr, got > 0 ? "too long a reply\n" : "the server closed a connection\n");
        exit(1);
    }
    connection->awaited -= got;
    return connection->awaited == 0;
}

/* Connects, for requests that begin later. */
static void open_one(struct connection *connection, int poller, int port) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->fd = dial(port);
    check(epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event), "epoll_ctl");
}

int main(int argc, char **argv) {
    if (argc != 7 && !(argc == 8 && strcmp(argv[7], "once") == 0)) {
        fprintf(stderr, "usage: echo_load PORT PID CONNECTIONS BYTES WARM_UP SECONDS [once]\n");
        return 2;
    }
    int once = argc == 8;
    int port = atoi(argv[1]), count = atoi(argv[3]);
    size_t size = strtoul(argv[4], NULL, 10);
    if (count < 1 || size < 1 || size > BUFFER) {
        fprintf(stderr, "echo_load: at least 1 connection, 1 to %d bytes\n", BUFFER);
        return 2;
    }
    clockid_t server_clock;
    if (clock_getcpuclockid(atoi(argv[2]), &server_clock) != 0) {
        fprintf(stderr, "echo_load: no CPU clock of process %s\n", argv[2]);
        return 1;
    }
    struct connection *connections = calloc(count, sizeof *connections);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    check(poller, "epoll_create1");
    for (int index = 0; index < count; index++)
        open_one(&connections[index], poller, port);

    int64_t warm_up = atof(argv[5]) * 1e9, server_before = 0;
    int64_t now = clock_ns(CLOCK_MONOTONIC), start = now + PATIENCE * 1000000000LL, end = 0;
    int known = 0;
    uint64_t replies = 0;
    for (int index = 0; index < count; index++)
        request(&connections[index], size);
    while (!end || now < end) {
        struct epoll_event events[BATCH];
        int ready = epoll_wait(poller, events, BATCH, 100);
        if (ready < 0 && errno != EINTR)
            check(ready, "epoll_wait");
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            if (!receive(connection))
                continue;
            now = clock_ns(CLOCK_MONOTONIC);
            if (!connection->known) {
                connection->known = 1;
                if (++known == count && !end)
                    start = now + warm_up;
            }
            if (end) {
                histogram[bucket_of(now - connection->sent_at)]++;
                connection->replies++;
                replies++;
            }
            if (once) {
                check(close(connection->fd), "close");
                open_one(connection, poller, port);
            }
            request(connection, size);
        }
        now = clock_ns(CLOCK_MONOTONIC);
        if (!end && now >= start) {
            server_before = clock_ns(server_clock);
            start = clock_ns(CLOCK_MONOTONIC);
            end = start + (int64_t)(atof(argv[6]) * 1e9);
        }
    }
    int64_t server_ns = clock_ns(server_clock) - server_before;
    int served = 0;
    for (int index = 0; index < count; index++) {
        served += connections[index].replies > 0;
        histogram[bucket_of(now - connections[index].sent_at)]++;
    }
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"server_ns\": %lld, \"served\": %d, "
           "\"p50_ns\": %llu, \"p99_ns\": %llu, \"max_ns\": %llu}\n",
           (unsigned long long)replies, (now - start) / 1e9, (long long)server_ns, served,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
           (unsigned long long)percentile(1.0));
    return 0;
}
