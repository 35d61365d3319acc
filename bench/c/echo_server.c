/* TCP echo server on epoll, level-triggered, one thread: the floor that the green servers are
 * measured against.  Prints its port and serves until it is killed.
 *
 * Invariant: per request one recv and one send, per batch of events one epoll_wait, nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, BUFFER = 4096, BACKLOG = 1024 };

static void check(long result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static void watch(int poller, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static void accept_all(int poller, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED)
                return;
            check(fd, "accept4");
        }
        watch(poller, fd);
    }
}

/* Sends the whole buffer; the messages are small, so a full socket buffer is an error here. */
static void reply(int fd, const char *data, ssize_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != size)
        close(fd);
}

static void echo(int fd) {
    static char buffer[BUFFER];
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size > 0)
        reply(fd, buffer, size);
    else if (size == 0 || errno != EAGAIN)
        close(fd);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    check(listener, "socket");
    check(bind(listener, (struct sockaddr *)&address, length), "bind");
    check(listen(listener, BACKLOG), "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    int poller = epoll_create1(EPOLL_CLOEXEC);
    check(poller, "epoll_create1");
    watch(poller, listener);
    for (;;) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(poller, events, BATCH, -1);
        if (count < 0 && errno == EINTR)
            continue;
        check(count, "epoll_wait");
        for (int index = 0; index < count; index++) {
            if (events[index].data.fd == listener)
                accept_all(poller, listener);
            else
                echo(events[index].data.fd);
        }
    }
}
