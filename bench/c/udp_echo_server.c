/* UDP echo server: the floor for servers that receive and send one datagram at a time.
 *
 *     udp_echo_server
 *
 * Prints its port and serves until killed. Non-blocking, with epoll, as a server of many sockets is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void check(long result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

int main(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    check(fd, "socket");
    check(bind(fd, (struct sockaddr *)&name, sizeof name), "bind");
    check(getsockname(fd, (struct sockaddr *)&name, &len), "getsockname");
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    int set = epoll_create1(0);
    check(set, "epoll_create1");
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    for (;;) {
        static char buffer[4096];
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &from_len);
        if (got >= 0)
            sendto(fd, buffer, got, 0, (struct sockaddr *)&from, from_len);
        else if (errno == EAGAIN)
            epoll_wait(set, &event, 1, -1);
        else
            check(got, "recvfrom");
    }
}
