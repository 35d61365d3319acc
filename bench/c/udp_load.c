/* Load generator for UDP echo servers: keeps N requests in flight from one socket.
 *
 *     udp_load PORT SERVER_PID REQUESTS MESSAGE_BYTES WARM_UP_SECONDS SECONDS
 *
 * Prints one JSON object like echo_load. Each request carries its number, so that the number of those
 * answered is known. Replies are taken, and the next requests sent, as many at a time as there are: the
 * load costs less than any server, which always finds the next datagram waiting.
 *
 * Invariant: no datagram is lost on the loopback as long as N of them fit into a socket's buffer; a
 * second without a reply ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { MOST = 256, BUFFER = 2048 };

static char buffers[MOST][BUFFER];
static int64_t sent_at[MOST]; /* nanoseconds */
static uint64_t replies[MOST];
static struct iovec places[MOST];
static struct mmsghdr messages[MOST];

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

static uint32_t number_of(const char *message) {
    uint32_t number;
    memcpy(&number, message, sizeof number);
    return number;
}

/* Sends the first `count` buffers, `size` bytes each. */
static void request(int fd, int count, size_t size) {
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    for (int index = 0; index < count; index++) {
        sent_at[number_of(buffers[index])] = now;
        places[index].iov_len = size;
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(fd, messages + sent, count - sent, 0);
        check(more, "sendmmsg");
        sent += more;
    }
}

static int ascending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: udp_load PORT PID REQUESTS BYTES WARM_UP SECONDS\n");
        return 2;
    }
    int count = atoi(argv[3]);
    size_t size = strtoul(argv[4], NULL, 10);
    if (count < 1 || count > MOST || size < sizeof(uint32_t) || size > BUFFER) {
        fprintf(stderr, "udp_load: 1 to %d requests of 4 to %d bytes\n", MOST, BUFFER);
        return 2;
    }
    clockid_t server_clock;
    if (clock_getcpuclockid(atoi(argv[2]), &server_clock) != 0) {
        fprintf(stderr, "udp_load: no CPU clock of process %s\n", argv[2]);
        return 1;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(fd, "socket");
    check(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
    struct timeval patience = {.tv_sec = 1};
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "setsockopt");

    for (uint32_t number = 0; number < (uint32_t)count; number++) {
        memcpy(buffers[number], &number, sizeof number);
        places[number] = (struct iovec){buffers[number], size};
        messages[number].msg_hdr = (struct msghdr){.msg_iov = &places[number], .msg_iovlen = 1};
    }
    size_t room = 1 << 20, latencies = 0;
    int64_t *latency = malloc(room * sizeof *latency);
    int64_t now = clock_ns(CLOCK_MONOTONIC), start = now + (int64_t)(atof(argv[5]) * 1e9), end = 0;
    int64_t server_before = 0;
    request(fd, count, size);
    while (!end || now < end) {
        int got = recvmmsg(fd, messages, count, MSG_WAITFORONE, NULL);
        check(got, "a reply");
        now = clock_ns(CLOCK_MONOTONIC);
        for (int index = 0; index < got && end; index++) {
            uint32_t number = number_of(buffers[index]);
            if (number >= (uint32_t)count || messages[index].msg_len != size) {
                fprintf(stderr, "a reply that is no request\n");
                return 1;
            }
            replies[number]++;
            if (latencies == room)
                latency = realloc(latency, (room *= 2) * sizeof *latency);
            latency[latencies++] = now - sent_at[number];
        }
        if (!end && now >= start) {
            server_before = clock_ns(server_clock);
            start = clock_ns(CLOCK_MONOTONIC);
            end = start + (int64_t)(atof(argv[6]) * 1e9);
        }
        request(fd, got, size);
    }
    int64_t server_ns = clock_ns(server_clock) - server_before;
    int served = 0;
    for (int number = 0; number < count; number++)
        served += replies[number] > 0;
    qsort(latency, latencies, sizeof *latency, ascending);
    printf("{\"requests\": %zu, \"seconds\": %.6f, \"server_ns\": %lld, \"served\": %d, "
           "\"p99_ns\": %lld}\n",
           latencies, (now - start) / 1e9, (long long)server_ns, served,
           latencies ? (long long)latency[latencies * 99 / 100] : 0);
    return 0;
}
