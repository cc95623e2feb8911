/* A load generator: keep-alive POSTs of one body, C at a time, as fast as the answers come.
 *
 *   http_load PORT CONCURRENCY NUM_REQUESTS BODY_FILE   prints requests per second.
 *
 * One thread and epoll; it does nothing with an answer but count it, so no client that has to keep
 * anything can be faster on the same machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char *request;
static size_t request_bytes;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void ask(int fd) {
    for (size_t sent = 0; sent < request_bytes;) {
        ssize_t n = send(fd, request + sent, request_bytes - sent, MSG_NOSIGNAL);
        if (n <= 0) exit(3);
        sent += (size_t)n;
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int port = atoi(argv[1]), concurrency = atoi(argv[2]), one = 1;
    long wanted = atol(argv[3]), sent = 0, answered = 0;
    FILE *file = fopen(argv[4], "rb");
    if (!file) return 2;
    fseek(file, 0, SEEK_END);
    size_t body = (size_t)ftell(file);
    rewind(file);
    request = malloc(body + 512);
    int head = sprintf(request,
                       "POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                       body);
    if (fread(request + head, 1, body, file) != body) return 2;
    request_bytes = (size_t)head + body;
    int poll = epoll_create1(0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    double started = now_s();
    for (int i = 0; i < concurrency && sent < wanted; i++, sent++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address)) return 3;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        ask(fd);
    }
    while (answered < wanted) {
        struct epoll_event events[256];
        char answer[4096];
        int num = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < num; i++) {
            int fd = events[i].data.fd;
            /* Our server sends an answer in one piece. */
            if (read(fd, answer, sizeof answer) <= 0) return 3;
            answered++;
            if (sent < wanted) {
                ask(fd);
                sent++;
            }
        }
    }
    printf("%.1f\n", (double)answered / (now_s() - started));
    return 0;
}
