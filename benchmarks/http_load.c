/* A load generator: one keep-alive request, C at a time, as fast as the answers come.
 *
 *   http_load PORT CONCURRENCY NUM_REQUESTS REQUEST_FILE   prints requests per second.
 *
 * REQUEST_FILE holds the request as it goes over the wire, head and body. One thread and epoll; it
 * looks at nothing of an answer but its status and where it ends, so no client that has to keep
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

struct answer {
    size_t size;
    char bytes[1 << 20];
};

/* Say whether an answer is whole: as long as its head says, or up to the last chunk. */
static int is_whole(struct answer *answer) {
    answer->bytes[answer->size] = 0;
    char *end = strstr(answer->bytes, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp(answer->bytes, "HTTP/1.1 200", 12)) {
        fprintf(stderr, "%.200s\n", answer->bytes);
        exit(4);
    }
    size_t head = (size_t)(end - answer->bytes) + 4;
    char *length = strcasestr(answer->bytes, "\r\ncontent-length:");
    if (length && length < end) return answer->size >= head + strtoul(length + 17, NULL, 10);
    return answer->size >= head + 5 && !memcmp(answer->bytes + answer->size - 5, "0\r\n\r\n", 5);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int port = atoi(argv[1]), concurrency = atoi(argv[2]), one = 1;
    long wanted = atol(argv[3]), sent = 0, answered = 0;
    FILE *file = fopen(argv[4], "rb");
    if (!file) return 2;
    fseek(file, 0, SEEK_END);
    request_bytes = (size_t)ftell(file);
    rewind(file);
    request = malloc(request_bytes);
    if (fread(request, 1, request_bytes, file) != request_bytes) return 2;
    struct answer **answers = calloc(65536, sizeof *answers);
    int poll = epoll_create1(0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    double started = now_s();
    for (int i = 0; i < concurrency && sent < wanted; i++, sent++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || fd >= 65536 || connect(fd, (struct sockaddr *)&address, sizeof address)) return 3;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        answers[fd] = malloc(sizeof **answers);
        answers[fd]->size = 0;
        ask(fd);
    }
    while (answered < wanted) {
        struct epoll_event events[256];
        int num = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < num; i++) {
            int fd = events[i].data.fd;
            struct answer *answer = answers[fd];
            size_t left = sizeof answer->bytes - 1 - answer->size;
            ssize_t n = read(fd, answer->bytes + answer->size, left);
            if (n <= 0) return 3;
            answer->size += (size_t)n;
            if (!is_whole(answer)) continue;
            answer->size = 0;
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
