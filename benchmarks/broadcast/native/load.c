/*
 * The load generator: WebSocket clients and a poster of events in one epoll loop.
 *
 * It is told what to do on standard input, a line at a time, and answers each with one line of JSON; what is sent over
 * the wire comes ready-made in files (see loader.py), so that it knows no protocol but WebSocket framing and HTTP.
 *
 *   open FILE PORT INFLIGHT          connect clients, at most INFLIGHT handshakes at a time
 *   post FILE PORT CONNECTIONS WINDOW SECONDS RATE LOOP
 *                                    post requests, WINDOW of them undelivered at a time or RATE a second (0: no rate)
 *   stare                            let all clients read nothing more, and have next to no room for it
 *   vanish                           let all clients drop whatever comes, unread and unacknowledged, as if unplugged
 *   close                            close all clients
 *
 * An event carries "n":"<10 digits>", its number, by which it is found when it was posted; and "seq":<n>, by which each
 * client sees what is lost, doubled or out of order. Everything else a server says is a control frame.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 20)
#define BUCKETS 4096
#define STALL_NS 4000000000LL
#define HANDSHAKE_NS 60000000000LL

enum kind { COMMANDS, TIMER, CLIENT, POSTER };
enum state { CLOSED, CONNECTING, UPGRADING, JOINING, LIVE };

struct source { enum kind kind; int fd; };

struct client {
    struct source source;
    enum state state;
    const uint8_t *request, *frames;
    uint32_t request_size, frames_size, address, port, controls_wanted, controls, replay_wanted, replayed;
    int64_t last_seq, began;
    uint8_t *kept;
    uint32_t kept_size;
};

struct poster {
    struct source source;
    int busy;
    uint32_t kept_size, unsent;
    const uint8_t *rest;
    uint8_t kept[8192];
};

struct request { const uint8_t *bytes; uint32_t size, first, count, deliveries; };

static int epoll, timer;
static struct source commands = {COMMANDS, 0}, ticking = {TIMER, 0};
static uint8_t *buffer, *opening;
static struct client *clients;
static uint32_t client_count;
static int live, pending, failed, dropped, next_client, inflight, opening_port, refused_status;
static int64_t opened_at, all_live_at;
static int64_t deliveries, lost, doubled, replayed, controls, last_delivery;
static uint64_t histogram[BUCKETS], recorded;
static int64_t slowest;
static int64_t *sent_at;
static uint32_t sent_base, sent_count;
static int64_t accepted, rejected, answered;
static int first_rejection;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Buckets are 1/64 of a power of two wide: 1.6 % of the value. */
static int bucket_of(int64_t us) {
    if (us < 64) return us < 0 ? 0 : (int)us;
    int power = 63 - __builtin_clzll((uint64_t)us);
    return ((power - 5) << 6) + (int)((us >> (power - 6)) & 63);
}

static double value_of(int bucket) {
    if (bucket < 64) return bucket;
    int power = (bucket >> 6) + 5;
    return (double)((64LL + (bucket & 63)) << (power - 6)) + (double)(1LL << (power - 6)) / 2;
}

static void record(int64_t ns) {
    int bucket = bucket_of(ns / 1000);
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    recorded++;
    if (ns > slowest) slowest = ns;
}

static double percentile(double percent) {
    uint64_t wanted = (uint64_t)((double)recorded * percent / 100), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > wanted) return value_of(i);
    return (double)slowest / 1000;
}

static void forget_times(void) {
    memset(histogram, 0, sizeof histogram);
    recorded = 0;
    slowest = 0;
}

static void watch(struct source *source, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll, how, source->fd, &event) < 0) die("epoll_ctl");
}

static int dial(uint32_t from, int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) die("socket (is the limit of open files too low?)");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- clients ---- */

static void drop(struct client *client) {
    if (client->state == CLOSED) return;
    if (client->state == LIVE) live--, dropped++;
    else pending--, failed++;
    client->state = CLOSED;
    close(client->source.fd);
    client->source.fd = -1;
    free(client->kept);
    client->kept = NULL;
    client->kept_size = 0;
}

static void say(struct client *client, const uint8_t *bytes, size_t size) {
    if (send(client->source.fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) drop(client);
}

static void settle(struct client *client) {
    if (client->state != JOINING || client->controls < client->controls_wanted) return;
    if (client->replayed < client->replay_wanted) return;
    client->state = LIVE;
    pending--;
    live++;
    all_live_at = now_ns();
    record(all_live_at - client->began);
}

static int64_t number_after(const uint8_t *text, size_t size, const char *key, size_t key_size) {
    const uint8_t *found = memmem(text, size, key, key_size), *end = text + size;
    if (!found) return -1;
    int64_t value = 0;
    for (found += key_size; found < end && *found >= '0' && *found <= '9'; found++) value = value * 10 + (*found - '0');
    return value;
}

static void follow(struct client *client, int64_t seq) {
    if (client->last_seq < 0 || seq == client->last_seq + 1) client->last_seq = seq;
    else if (seq <= client->last_seq) doubled++;
    else lost += seq - client->last_seq - 1, client->last_seq = seq;
}

static void hear(struct client *client, const uint8_t *text, size_t size, int64_t now) {
    int64_t number = number_after(text, size, "\"n\":\"", 5);
    if (number < 0) {
        controls++;
        client->controls++;
        settle(client);
        return;
    }
    int64_t seq = number_after(text, size, "\"seq\":", 6);
    if (seq >= 0) follow(client, seq);
    if (client->state == JOINING) {
        client->replayed++;
        replayed++;
        last_delivery = now;
        settle(client);
        return;
    }
    deliveries++;
    last_delivery = now;
    uint32_t index = (uint32_t)number - sent_base;
    if (index < sent_count && sent_at[index]) record(now - sent_at[index]);
}

static void answer_ping(struct client *client, const uint8_t *payload, size_t size) {
    uint8_t pong[6 + 125] = {0x8a, (uint8_t)(0x80 | size)};
    if (size > 125) return drop(client);
    memcpy(pong + 6, payload, size);
    say(client, pong, 6 + size);
}

/* Takes whole frames from the front; returns how many bytes they were. */
static size_t take_frames(struct client *client, const uint8_t *bytes, size_t size, int64_t now) {
    size_t used = 0;
    while (size - used >= 2 && client->state >= JOINING) {
        const uint8_t *head = bytes + used;
        size_t length = head[1] & 127, skip = 2;
        if (length == 126) {
            if (size - used < 4) break;
            length = (size_t)head[2] << 8 | head[3];
            skip = 4;
        } else if (length == 127) {
            if (size - used < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | head[i];
            skip = 10;
        }
        if (size - used < skip + length) break;
        int opcode = head[0] & 15;
        if (opcode == 8) drop(client);
        else if (opcode == 9) answer_ping(client, head + skip, length);
        else if (opcode < 3) hear(client, head + skip, length, now);
        used += skip + length;
    }
    return used;
}

static size_t take_upgrade(struct client *client, const uint8_t *bytes, size_t size) {
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (size < 12 || memcmp(bytes + 9, "101", 3)) {
        if (size >= 12) refused_status = atoi((const char *)bytes + 9);
        drop(client);
        return size;
    }
    client->state = JOINING;
    if (client->frames_size) say(client, client->frames, client->frames_size);
    settle(client);
    return (size_t)(end - bytes) + 4;
}

static void keep(struct client *client, const uint8_t *bytes, size_t size) {
    if (size == 0 || client->state == CLOSED) {
        free(client->kept);
        client->kept = NULL;
        client->kept_size = 0;
        return;
    }
    client->kept = realloc(client->kept, size);
    memcpy(client->kept, bytes, size);
    client->kept_size = (uint32_t)size;
}

static void read_client(struct client *client) {
    size_t before = client->kept_size;
    if (before) memcpy(buffer, client->kept, before);
    ssize_t got = recv(client->source.fd, buffer + before, ROOM - before, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        return drop(client);
    }
    size_t size = before + (size_t)got, used = 0;
    if (client->state == UPGRADING) used = take_upgrade(client, buffer, size);
    if (client->state >= JOINING) used += take_frames(client, buffer + used, size - used, now_ns());
    if (before || used < size) keep(client, buffer + used, size - used);
}

static void dial_next(void) {
    while (next_client < (int)client_count && pending < inflight) {
        struct client *client = &clients[next_client++];
        client->began = now_ns();
        client->source.kind = CLIENT;
        client->source.fd = dial(client->address, client->port ? (int)client->port : opening_port);
        if (client->source.fd < 0) {
            failed++;
            continue;
        }
        client->state = CONNECTING;
        pending++;
        watch(&client->source, EPOLLOUT, EPOLL_CTL_ADD);
    }
}

static void on_client(struct client *client, uint32_t events) {
    if (client->state == CLOSED) return;
    if (client->state == CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) return drop(client);
        client->state = UPGRADING;
        watch(&client->source, EPOLLIN, EPOLL_CTL_MOD);
        say(client, client->request, client->request_size);
        return;
    }
    read_client(client);
}

/* ---- the poster ---- */

static struct request *requests;
static uint32_t request_count, next_request;
static struct poster *posters;
static int poster_count, busy, posting;
static int64_t window, deadline, expected, sent_requests, sent_events, due, gap;
static int looping;

static void send_request(struct poster *poster, int64_t now) {
    struct request *request = &requests[next_request];
    next_request = looping ? (next_request + 1) % request_count : next_request + 1;
    for (uint32_t i = 0; i < request->count; i++) sent_at[request->first - sent_base + i] = gap ? due : now;
    expected += request->deliveries;
    sent_requests++;
    sent_events += request->count;
    poster->busy = 1;
    busy++;
    ssize_t done = send(poster->source.fd, request->bytes, request->size, MSG_NOSIGNAL);
    if (done < 0) done = 0;
    poster->rest = request->bytes + done;
    poster->unsent = request->size - (uint32_t)done;
    if (poster->unsent) watch(&poster->source, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    if (gap) due += gap;
}

static int may_post(int64_t now) {
    if (now >= deadline || next_request >= request_count || busy >= poster_count) return 0;
    if (gap) return due <= now;
    int64_t each = requests[next_request].deliveries;
    return each == 0 || expected - deliveries + each <= window * each;
}

static void arm(int64_t now) {
    int64_t wait = due > now ? due - now : 1;
    struct itimerspec when = {.it_value = {wait / 1000000000LL, wait % 1000000000LL}};
    timerfd_settime(timer, 0, &when, NULL);
}

static void post_more(void) {
    int64_t now = now_ns();
    for (int i = 0; i < poster_count && may_post(now); i++)
        if (!posters[i].busy && posters[i].source.fd >= 0) send_request(&posters[i], now);
    if (gap && now < deadline && next_request < request_count && busy < poster_count) arm(now);
}

static int ends_answer(const uint8_t *text, size_t size) {
    const uint8_t *end = memmem(text, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - text) + 4;
    const uint8_t *length = (const uint8_t *)strcasestr((const char *)text, "content-length:");
    if (length && length < end) return size >= head + strtoul((const char *)length + 15, NULL, 10);
    if (strcasestr((const char *)text, "chunked")) return size >= head + 5 && !memcmp(text + size - 5, "0\r\n\r\n", 5);
    return 1;
}

static void lose_poster(struct poster *poster) {
    if (poster->busy) busy--, rejected++;
    poster->busy = 0;
    close(poster->source.fd);
    poster->source.fd = -1;
}

static void on_poster(struct poster *poster, uint32_t events) {
    if (poster->unsent && events & EPOLLOUT) {
        ssize_t done = send(poster->source.fd, poster->rest, poster->unsent, MSG_NOSIGNAL);
        if (done > 0) poster->rest += done, poster->unsent -= (uint32_t)done;
        if (!poster->unsent) watch(&poster->source, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(poster->source.fd, poster->kept + poster->kept_size, sizeof poster->kept - 1 - poster->kept_size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return lose_poster(poster);
    poster->kept_size += (uint32_t)got;
    poster->kept[poster->kept_size] = 0;
    if (!ends_answer(poster->kept, poster->kept_size)) return;
    int status = poster->kept_size > 12 ? atoi((char *)poster->kept + 9) : 0;
    if (status >= 200 && status < 300) accepted++;
    else rejected++, first_rejection = first_rejection ? first_rejection : status;
    answered = now_ns();
    poster->kept_size = 0;
    poster->busy = 0;
    busy--;
}

/* ---- the loop ---- */

static int has_command;

static void turn(int milliseconds) {
    static struct epoll_event events[1024];
    int count = epoll_wait(epoll, events, 1024, milliseconds);
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        uint64_t ticks;
        if (source->kind == COMMANDS) has_command = 1;
        else if (source->kind == TIMER) { if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer"); }
        else if (source->kind == CLIENT) on_client((struct client *)source, events[i].events);
        else if (source->fd >= 0) on_poster((struct poster *)source, events[i].events);
        if (posting && source->kind != COMMANDS) post_more();
    }
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    if (fread(bytes, 1, *size, file) != *size) die(path);
    fclose(file);
    return bytes;
}

static uint32_t take_u32(const uint8_t **at) {
    uint32_t value;
    memcpy(&value, *at, 4);
    *at += 4;
    return value;
}

/* Each client: address, port (0: the command's), controls to await, replayed events to await, seq already
 * seen + 1 (0: any), then both texts. */
static void read_clients(const char *path) {
    size_t size;
    opening = read_file(path, &size);
    const uint8_t *at = opening;
    client_count = take_u32(&at);
    clients = calloc(client_count, sizeof *clients);
    for (uint32_t i = 0; i < client_count; i++) {
        struct client *client = &clients[i];
        client->address = take_u32(&at);
        client->port = take_u32(&at);
        client->controls_wanted = take_u32(&at);
        client->replay_wanted = take_u32(&at);
        client->last_seq = (int64_t)take_u32(&at) - 1;
        client->request_size = take_u32(&at);
        client->frames_size = take_u32(&at);
        client->request = at;
        client->frames = at + client->request_size;
        at = client->frames + client->frames_size;
    }
}

static void run_open(const char *path, int port, int most) {
    read_clients(path);
    opening_port = port;
    inflight = most;
    next_client = live = pending = failed = dropped = refused_status = 0;
    lost = doubled = replayed = 0;
    forget_times();
    opened_at = all_live_at = last_delivery = now_ns();
    int64_t seen = -1, moved = opened_at;
    dial_next();
    while (live + failed + dropped < (int)client_count) {
        turn(50);
        dial_next();
        if (live + failed + replayed + controls != seen) seen = live + failed + replayed + controls, moved = now_ns();
        if (now_ns() - moved > HANDSHAKE_NS) break;
    }
    printf("{\"live\":%d,\"failed\":%d,\"dropped\":%d,\"pending\":%d,\"status\":%d,\"seconds\":%.6f,\"replayed\":%lld,"
           "\"lost\":%lld,\"doubled\":%lld,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           live, failed, dropped, pending, refused_status, (double)(all_live_at - opened_at) / 1e9, (long long)replayed,
           (long long)lost, (long long)doubled, percentile(50), percentile(99));
}

/* Each request: size, number of its first event, number of events, deliveries it leads to, then its bytes. */
static uint8_t *read_requests(const char *path) {
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    const uint8_t *at = bytes;
    request_count = take_u32(&at);
    requests = calloc(request_count, sizeof *requests);
    sent_base = UINT32_MAX;
    uint32_t end = 0;
    for (uint32_t i = 0; i < request_count; i++) {
        struct request *request = &requests[i];
        request->size = take_u32(&at);
        request->first = take_u32(&at);
        request->count = take_u32(&at);
        request->deliveries = take_u32(&at);
        request->bytes = at;
        at += request->size;
        if (request->first < sent_base) sent_base = request->first;
        if (request->first + request->count > end) end = request->first + request->count;
    }
    sent_count = end > sent_base ? end - sent_base : 0;
    sent_at = calloc(sent_count + 1, sizeof *sent_at);
    return bytes;
}

static void open_posters(int port, int count) {
    poster_count = count;
    posters = calloc((size_t)count, sizeof *posters);
    for (int i = 0; i < count; i++) {
        posters[i].source.kind = POSTER;
        posters[i].source.fd = dial(INADDR_LOOPBACK, port);
        if (posters[i].source.fd < 0) die("connect");
        watch(&posters[i].source, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void run_post(const char *path, int port, int count, int wide, double seconds, double rate, int loop) {
    uint8_t *bytes = read_requests(path);
    open_posters(port, count);
    window = wide;
    looping = loop;
    gap = rate > 0 ? (int64_t)(1e9 / rate) : 0;
    next_request = 0;
    deliveries = lost = doubled = expected = sent_requests = sent_events = 0;
    accepted = rejected = 0;
    first_rejection = busy = 0;
    forget_times();
    int dropped_before = dropped;
    turn(100);
    int64_t began = now_ns(), seen = -1, moved = began;
    due = answered = last_delivery = began;
    deadline = began + (int64_t)(seconds * 1e9);
    posting = 1;
    post_more();
    for (;;) {
        turn(20);
        post_more();
        int64_t now = now_ns();
        int over = now >= deadline || (next_request >= request_count && !looping);
        if (over && !busy && deliveries >= expected) break;
        if (deliveries + accepted + rejected != seen) seen = deliveries + accepted + rejected, moved = now;
        if (now - moved > STALL_NS && (!gap || over || busy)) break;
    }
    posting = 0;
    int64_t end = last_delivery > answered ? last_delivery : answered;
    printf("{\"requests\":%lld,\"events\":%lld,\"accepted\":%lld,\"rejected\":%lld,\"status\":%d,\"expected\":%lld,"
           "\"deliveries\":%lld,\"lost\":%lld,\"doubled\":%lld,\"dropped\":%d,\"seconds\":%.6f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           (long long)sent_requests, (long long)sent_events, (long long)accepted, (long long)rejected, first_rejection,
           (long long)expected, (long long)deliveries, (long long)lost, (long long)doubled, dropped - dropped_before,
           (double)(end - began) / 1e9, percentile(50), percentile(99), (double)slowest / 1000);
    for (int i = 0; i < poster_count; i++)
        if (posters[i].source.fd >= 0) close(posters[i].source.fd);
    sent_count = 0;
    free(posters), free(sent_at), free(requests), free(bytes);
}

static void run_close(void) {
    int closed = 0;
    for (uint32_t i = 0; i < client_count; i++)
        if (clients[i].state != CLOSED) drop(&clients[i]), closed++;
    free(clients), free(opening);
    clients = NULL, opening = NULL;
    client_count = 0;
    live = pending = 0;
    printf("{\"closed\":%d}\n", closed);
}

static void stare(struct client *client) {
    int room = 4096;
    watch(&client->source, 0, EPOLL_CTL_MOD);
    setsockopt(client->source.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
}

/* A filter on the socket drops packets before TCP sees them: no acknowledgement, no reset, and no root is needed. */
static void vanish(struct client *client) {
    struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &drop_all};
    if (setsockopt(client->source.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) die("filter");
}

static void run_rudely(void (*become)(struct client *)) {
    int changed = 0;
    for (uint32_t i = 0; i < client_count; i++)
        if (clients[i].state == LIVE) become(&clients[i]), changed++;
    printf("{\"changed\":%d}\n", changed);
}

static int obey(void) {
    static char line[4096], path[2048];
    int port, a, b, loop;
    double seconds, rate;
    if (!fgets(line, sizeof line, stdin)) return 0;
    if (sscanf(line, "open %2047s %d %d", path, &port, &a) == 3) run_open(path, port, a);
    else if (sscanf(line, "post %2047s %d %d %d %lf %lf %d", path, &port, &a, &b, &seconds, &rate, &loop) == 7)
        run_post(path, port, a, b, seconds, rate, loop);
    else if (!strncmp(line, "stare", 5)) run_rudely(stare);
    else if (!strncmp(line, "vanish", 6)) run_rudely(vanish);
    else if (!strncmp(line, "close", 5)) run_close();
    else printf("{\"error\":\"unknown command\"}\n");
    fflush(stdout);
    return 1;
}

int main(void) {
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    buffer = malloc(ROOM);
    ticking.fd = timer;
    setvbuf(stdin, NULL, _IONBF, 0);
    watch(&commands, EPOLLIN, EPOLL_CTL_ADD);
    watch(&ticking, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        has_command = 0;
        turn(-1);
        if (has_command && !obey()) return 0;
    }
}
