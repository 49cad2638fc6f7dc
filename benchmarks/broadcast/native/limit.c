/*
 * The limit: the least that a server can do that sends one event to each client with one send(). It checks nothing.
 *
 *   GET /sub/<topic>[/<topic>]   opens a WebSocket that hears these topics
 *   POST /pub/<topic>            sends the body to all of them, then answers 202
 *
 * It does not make Sec-WebSocket-Accept (the load generator doesn't ask for it) and reads no frames.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FILES 65536
#define SLOTS 65536
#define NAME 64
#define ROOM 16384

struct topic { char name[NAME]; int *members; int count, room; };
struct connection { int open, is_client, topics[2], places[2]; uint32_t size; char *kept; };

static struct topic topics[SLOTS];
static struct connection connections[MOST_FILES];
static const char UPGRADED[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
static const char TAKEN[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

static int find_topic(const char *name, size_t size) {
    uint64_t hash = 1469598103934665603ULL;
    if (size >= NAME) size = NAME - 1;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)name[i]) * 1099511628211ULL;
    for (int slot = (int)(hash % SLOTS);; slot = (slot + 1) % SLOTS) {
        if (!topics[slot].name[0]) memcpy(topics[slot].name, name, size);
        if (!strncmp(topics[slot].name, name, size) && !topics[slot].name[size]) return slot;
    }
}

static void join(int fd, int which, int slot) {
    struct topic *topic = &topics[slot];
    if (topic->count == topic->room) {
        topic->room = topic->room ? topic->room * 2 : 8;
        topic->members = realloc(topic->members, (size_t)topic->room * sizeof *topic->members);
    }
    connections[fd].topics[which] = slot;
    connections[fd].places[which] = topic->count;
    topic->members[topic->count++] = fd;
}

static void leave(int fd, int which) {
    int slot = connections[fd].topics[which];
    if (slot < 0) return;
    struct topic *topic = &topics[slot];
    int last = topic->members[--topic->count], place = connections[fd].places[which];
    topic->members[place] = last;
    connections[last].places[connections[last].topics[0] == slot ? 0 : 1] = place;
}

static void end(int fd) {
    leave(fd, 0);
    leave(fd, 1);
    free(connections[fd].kept);
    memset(&connections[fd], 0, sizeof connections[fd]);
    close(fd);
}

static void send_all(int fd, const uint8_t *bytes, size_t size) {
    while (size) {
        ssize_t done = send(fd, bytes, size, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) return;
        if (done < 0) {
            struct pollfd waiting = {fd, POLLOUT, 0};
            poll(&waiting, 1, 1000);
            continue;
        }
        bytes += done;
        size -= (size_t)done;
    }
}

static void publish(const char *name, size_t name_size, const char *body, size_t size) {
    static uint8_t frame[ROOM + 4];
    struct topic *topic = &topics[find_topic(name, name_size)];
    size_t head = 2;
    frame[0] = 0x81;
    frame[1] = (uint8_t)size;
    if (size > 125) frame[1] = 126, frame[2] = (uint8_t)(size >> 8), frame[3] = (uint8_t)size, head = 4;
    memcpy(frame + head, body, size);
    for (int i = 0; i < topic->count; i++) send_all(topic->members[i], frame, head + size);
}

static void subscribe(int fd, const char *path, const char *path_end) {
    for (int which = 0; which < 2 && path < path_end; which++) {
        const char *slash = memchr(path, '/', (size_t)(path_end - path));
        const char *stop = slash ? slash : path_end;
        join(fd, which, find_topic(path, (size_t)(stop - path)));
        path = stop + 1;
    }
    connections[fd].is_client = 1;
    send_all(fd, (const uint8_t *)UPGRADED, sizeof UPGRADED - 1);
}

/* Takes one request from the front; returns its size, 0 if it is not all there yet. */
static size_t take(int fd, const char *text, size_t size) {
    const char *head_end = memmem(text, size, "\r\n\r\n", 4);
    if (!head_end) return 0;
    const char *path = memchr(text, '/', size), *path_end = path ? strchr(path, ' ') : NULL;
    if (!path_end || path_end > head_end || path_end - path < 6) return size;
    size_t head = (size_t)(head_end - text) + 4;
    if (text[0] == 'G') {
        subscribe(fd, path + 5, path_end);
        return head;
    }
    const char *length = strcasestr(text, "content-length:");
    size_t body = length && length < head_end ? strtoul(length + 15, NULL, 10) : 0;
    if (size < head + body) return 0;
    publish(path + 5, (size_t)(path_end - path) - 5, head_end + 4, body);
    send_all(fd, (const uint8_t *)TAKEN, sizeof TAKEN - 1);
    return head + body;
}

static void on_readable(int fd) {
    static char text[2 * ROOM + 1];
    struct connection *connection = &connections[fd];
    memcpy(text, connection->kept ? connection->kept : "", connection->size);
    ssize_t got = recv(fd, text + connection->size, ROOM, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return end(fd);
    if (connection->is_client) return;
    size_t size = connection->size + (size_t)got, used = 0, once;
    text[size] = 0;
    while (used < size && (once = take(fd, text + used, size - used))) used += once;
    connection->size = (uint32_t)(size - used < ROOM ? size - used : 0);
    connection->kept = realloc(connection->kept, connection->size ? connection->size : 1);
    memcpy(connection->kept, text + used, connection->size);
}

static void welcome(int epoll, int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[fd].open = 1;
        connections[fd].topics[0] = connections[fd].topics[1] = -1;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **words) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(count > 1 ? atoi(words[1]) : 0))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 4096) < 0) {
        perror("limit");
        return 1;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[1024], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == listener) welcome(epoll, listener);
            else if (connections[events[i].data.fd].open) on_readable(events[i].data.fd);
    }
}
