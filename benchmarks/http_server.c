/* An HTTP server on loopback that answers every POST with one label after a fixed delay.
 *
 *   http_server DELAY_MS [ALONE]   prints its port, serves keep-alive connections until it is killed.
 *
 * With a second argument the delay of a request begins when the request before it is answered, as
 * at a server that is busy with one at a time; else each is answered so long after it came.
 *
 * One thread and epoll: at no delay it answers tens of thousands of requests a second, so that it
 * is the client that is measured. Answers that wait stand in a queue in the order of their time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define BUFFER_BYTES (1 << 18)

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"label\": 0}";

typedef struct {
    char *data;
    size_t length;
} Connection;

typedef struct {
    int fd;
    long long due_ns;
} Waiting;

static Connection connections[MAX_CONNECTIONS];
static Waiting queue[MAX_CONNECTIONS * 4];
static size_t first, last;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void answer(int fd) {
    if (send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0) shutdown(fd, SHUT_RDWR);
}

/* Return the bytes of the first whole request in the buffer, 0 if there is none yet. */
static size_t whole_request(const Connection *c) {
    const char *end = memmem(c->data, c->length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - c->data) + 4, body = 0;
    for (const char *line = c->data; line < end;) {
        if (!strncasecmp(line, "content-length:", 15)) body = strtoul(line + 15, NULL, 10);
        line = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        if (!line) break;
        line += 2;
    }
    return head + body <= c->length ? head + body : 0;
}

static void drop(int fd) {
    close(fd);
    connections[fd].length = 0;
}

int main(int argc, char **argv) {
    long long delay_ns = argc > 1 ? (long long)(atof(argv[1]) * 1e6) : 0, free_ns = 0;
    int is_alone = argc > 2;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 256) ||
        getsockname(listening, (struct sockaddr *)&address, &size))
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        struct timespec wait = {60, 0};
        if (first != last) {
            long long left = queue[first].due_ns - now_ns();
            if (left < 0) left = 0;
            wait.tv_sec = left / 1000000000LL;
            wait.tv_nsec = left % 1000000000LL;
        }
        int num = epoll_pwait2(poll, events, 256, &wait, NULL);
        for (int i = 0; i < num; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                int client = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0) continue;
                if (client >= MAX_CONNECTIONS) {
                    close(client);
                    continue;
                }
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                if (!connections[client].data) connections[client].data = malloc(BUFFER_BYTES);
                connections[client].length = 0;
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = client};
                epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
                continue;
            }
            Connection *c = &connections[fd];
            ssize_t got = read(fd, c->data + c->length, BUFFER_BYTES - c->length);
            if (got <= 0) {
                if (got == 0 || errno != EAGAIN) drop(fd);
                continue;
            }
            c->length += (size_t)got;
            for (size_t done; (done = whole_request(c)) != 0;) {
                c->length -= done;
                memmove(c->data, c->data + done, c->length);
                if (!delay_ns) {
                    answer(fd);
                    continue;
                }
                long long begin_ns = now_ns();
                if (is_alone && begin_ns < free_ns) begin_ns = free_ns;
                free_ns = begin_ns + delay_ns;
                queue[last] = (Waiting){fd, free_ns};
                last = (last + 1) % (MAX_CONNECTIONS * 4);
            }
            if (c->length == BUFFER_BYTES) drop(fd);
        }
        for (long long now = now_ns(); first != last && queue[first].due_ns <= now;) {
            answer(queue[first].fd);
            first = (first + 1) % (MAX_CONNECTIONS * 4);
        }
    }
}
