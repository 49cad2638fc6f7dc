/*
 * Writes prepared bytes to many sockets, one system call for each client, without waiting for any of them.
 *
 * The same as broadcast/sending/loops.py, which says what callers may rely on; tests hold the two against each other.
 * It allocates nothing, keeps nothing, and touches no socket but those that the table `sockets` names at this moment.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE. */
#endif

#define NONE (-1)
#define WRITES_AT_ONCE 64

struct part {
    const int *lines; /* who gets it */
    const char *data; /* what they get */
    size_t size;
    int count; /* of lines */
};

struct rest {
    int part;
    int place;
    size_t sent;
};

/* Room to work in. An entry is one line of one part, numbered through all parts. */
struct scratch {
    int *heads;  /* for each line its first entry that is still to be written, NONE before and after */
    int *nexts;  /* for each entry the same line's next one, or NONE */
    int *owners; /* for each entry its part */
    int *firsts; /* for each part its first entry */
};

static size_t send_now(int socket, struct iovec *pieces, int count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent;

    do /* most often there is one piece, for which send() is a little cheaper */
        sent = count == 1 ? send(socket, pieces->iov_base, pieces->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
                          : sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : (size_t)sent;
}

/* Links the entries of each line; backwards, so that they come out in the order of the parts. */
static int link_entries(const struct part *parts, int part_count, struct scratch *scratch)
{
    int total = 0;

    for (int p = 0; p < part_count; p++) {
        scratch->firsts[p] = total;
        total += parts[p].count;
    }
    for (int p = part_count - 1; p >= 0; p--)
        for (int place = parts[p].count - 1; place >= 0; place--) {
            int entry = scratch->firsts[p] + place, line = parts[p].lines[place];
            scratch->owners[entry] = p;
            scratch->nexts[entry] = scratch->heads[line];
            scratch->heads[line] = entry;
        }
    return total;
}

/* Writes one line's entries from the first on; returns the new number of rests. */
static int send_line(const struct part *parts, int socket, int entry, const struct scratch *scratch,
                     struct rest *rests, int rest_count)
{
    int open = socket >= 0;

    while (entry != NONE) {
        struct iovec pieces[WRITES_AT_ONCE];
        int count = 0, last = entry;
        size_t sent;

        for (; last != NONE && count < WRITES_AT_ONCE; last = scratch->nexts[last]) {
            const struct part *part = &parts[scratch->owners[last]];
            pieces[count++] = (struct iovec){.iov_base = (void *)part->data, .iov_len = part->size};
        }
        sent = open ? send_now(socket, pieces, count) : 0;
        for (; entry != last; entry = scratch->nexts[entry]) {
            int p = scratch->owners[entry];
            if (sent >= parts[p].size) {
                sent -= parts[p].size;
                continue;
            }
            rests[rest_count++] = (struct rest){.part = p, .place = entry - scratch->firsts[p], .sent = sent};
            sent = 0;
            open = 0;
        }
    }
    return rest_count;
}

/* Returns how many `rests` there are; there must be room for one of each entry. Parts must not be empty. */
int coursehub_send(const struct part *parts, int part_count, const int *sockets, struct scratch *scratch,
                   struct rest *rests)
{
    int total = link_entries(parts, part_count, scratch), rest_count = 0;

    for (int entry = 0; entry < total; entry++) {
        int p = scratch->owners[entry], line = parts[p].lines[entry - scratch->firsts[p]];
        if (scratch->heads[line] != entry)
            continue; /* went out together with an earlier one */
        scratch->heads[line] = NONE;
        rest_count = send_line(parts, sockets[line], entry, scratch, rests, rest_count);
    }
    return rest_count;
}
