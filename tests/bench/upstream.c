/*
 * An upstream that costs next to nothing: canned answers over keep-alive connections.
 *
 * It knows no format. What it answers comes in on standard input, and of a request it reads no
 * more than it must: the length, whether it streams, how many tokens, and whether usage is
 * wanted. A stream sends one event each interval, whatever the load, and streams are spread
 * evenly over the interval: events that leave together are read together, and are cheaper than
 * they should be. Prints its port, and ends when its standard input does.
 *
 * upstream INTERVAL_US < answers
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TICK_US = 100, MAX_FDS = 65536, MAX_REQUEST = 64 << 20, STAMP = 16, READ = 1 << 16 };

/* In the order in which they come in. */
enum { WHOLE, BEGIN, CONTENT, FINISH, USAGE, END, ACCEPTED, ANSWERS };

struct answer {
    char *bytes;
    size_t length;
};

struct connection {
    char *waiting;
    size_t have, room;
    long events;      /* still to come of its stream */
    int with_usage;
    int streams;      /* whether it is in a phase */
    int next, before; /* its neighbours there, or -1 */
};

static struct answer answers[ANSWERS];
static char *stamp; /* where an event tells when it was sent, NULL if it does not */
static struct connection connections[MAX_FDS];
static int *phases; /* the first connection of each, or -1 */
static int phase_count, phase_step, next_phase, streaming, timer;
static uint64_t turn; /* the next tick to be served */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The timer runs only while there are streams, so that it costs nothing otherwise. */
static void run_timer(int on) {
    struct itimerspec every = {0};
    if (on) {
        every.it_interval.tv_nsec = every.it_value.tv_nsec = TICK_US * 1000;
        turn = now_us() / TICK_US;
    }
    timerfd_settime(timer, 0, &every, NULL);
}

static void stream_begins(int fd) {
    struct connection *self = &connections[fd];
    int *phase = &phases[next_phase];
    self->streams = next_phase + 1;
    next_phase = (next_phase + phase_step) % phase_count;
    self->before = -1;
    self->next = *phase;
    if (*phase >= 0)
        connections[*phase].before = fd;
    *phase = fd;
    if (!streaming++)
        run_timer(1);
}

static void stream_ends(int fd) {
    struct connection *self = &connections[fd];
    if (self->before >= 0)
        connections[self->before].next = self->next;
    else
        phases[self->streams - 1] = self->next;
    if (self->next >= 0)
        connections[self->next].before = self->before;
    self->streams = 0;
    if (!--streaming)
        run_timer(0);
}

static void hang_up(int fd) {
    if (connections[fd].streams)
        stream_ends(fd);
    connections[fd].have = 0;
    close(fd);
}

/* False, and the connection is gone, if its other end is, or has not read for so long that there
 * is no room. */
static int send_answer(int fd, int which) {
    struct answer *answer = &answers[which];
    if (write(fd, answer->bytes, answer->length) == (ssize_t)answer->length)
        return 1;
    hang_up(fd);
    return 0;
}

static void send_event(int fd) {
    struct connection *self = &connections[fd];
    if (self->events-- > 0) {
        if (stamp) {
            char digits[STAMP + 1];
            snprintf(digits, sizeof digits, "%0*llu", STAMP, (unsigned long long)now_us());
            memcpy(stamp, digits, STAMP);
        }
        send_answer(fd, CONTENT);
        return;
    }
    stream_ends(fd);
    if (send_answer(fd, FINISH) && (!self->with_usage || send_answer(fd, USAGE)))
        send_answer(fd, END);
}

/* More than one turn where the machine was busy elsewhere. */
static void send_events(void) {
    for (uint64_t now = now_us() / TICK_US; turn <= now && streaming; turn++)
        for (int next, fd = phases[turn % phase_count]; fd >= 0; fd = next) {
            next = connections[fd].next;
            send_event(fd);
        }
}

static int says(const char *body, size_t length, const char *text) {
    return memmem(body, length, text, strlen(text)) != NULL;
}

static int is_true(const char *body, size_t length, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "\"%s\":true", name);
    if (says(body, length, text))
        return 1;
    snprintf(text, sizeof text, "\"%s\": true", name);
    return says(body, length, text);
}

static long tokens(const char *body, size_t length) {
    static const char *names[] = {"\"max_tokens\":", "\"max_completion_tokens\":"};
    for (int i = 0; i < 2; i++) {
        const char *found = memmem(body, length, names[i], strlen(names[i]));
        if (found)
            return strtol(found + strlen(names[i]), NULL, 10); /* ends at the closing brace */
    }
    return 32;
}

static size_t content_length(const char *head, const char *end) {
    static const char name[] = "\r\ncontent-length:";
    for (const char *line = head; line && line < end; line = memmem(line + 2, end - line - 2, "\r\n", 2))
        if ((size_t)(end - line) > sizeof name && !strncasecmp(line, name, sizeof name - 1))
            return strtoul(line + sizeof name - 1, NULL, 10);
    return 0;
}

static int answer(int fd, const char *head, const char *body, size_t length) {
    struct connection *self = &connections[fd];
    if (!strncmp(head, "POST /v1/traces", 15))
        return send_answer(fd, ACCEPTED);
    if (!is_true(body, length, "stream"))
        return send_answer(fd, WHOLE);
    self->events = tokens(body, length);
    self->with_usage = is_true(body, length, "include_usage");
    if (!send_answer(fd, BEGIN))
        return 0;
    if (!self->streams)
        stream_begins(fd);
    return 1;
}

/* Answer every request that is there as a whole. */
static void take_requests(int fd) {
    struct connection *self = &connections[fd];
    size_t done = 0;
    for (;;) {
        char *head = self->waiting + done, *end = self->waiting + self->have;
        char *blank = memmem(head, end - head, "\r\n\r\n", 4);
        if (!blank)
            break;
        size_t length = content_length(head, blank + 2);
        if (length > MAX_REQUEST) {
            hang_up(fd);
            return;
        }
        if ((size_t)(end - blank - 4) < length)
            break;
        if (!answer(fd, head, blank + 4, length))
            return;
        done = blank + 4 + length - self->waiting;
    }
    self->have -= done;
    memmove(self->waiting, self->waiting + done, self->have);
}

static void read_from(int fd) {
    struct connection *self = &connections[fd];
    if (self->room - self->have < READ) {
        self->room = self->room * 2 + READ;
        self->waiting = realloc(self->waiting, self->room);
        if (!self->waiting)
            fail("realloc");
    }
    ssize_t got = read(fd, self->waiting + self->have, self->room - self->have);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            hang_up(fd);
        return;
    }
    self->have += got;
    take_requests(fd);
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    int on = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd].have = 0;
        connections[fd].streams = 0;
        watch(epoll, fd);
    }
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096))
        fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Each with four bytes before it that tell its length, the highest first. */
static void read_answers(void) {
    for (int i = 0; i < ANSWERS; i++) {
        uint32_t length;
        if (fread(&length, sizeof length, 1, stdin) != 1)
            fail("answers");
        answers[i].length = ntohl(length);
        answers[i].bytes = malloc(answers[i].length);
        if (fread(answers[i].bytes, 1, answers[i].length, stdin) != answers[i].length)
            fail("answers");
    }
    static const char zeros[] = "\"0000000000000000\"";
    stamp = memmem(answers[CONTENT].bytes, answers[CONTENT].length, zeros, STAMP + 2);
    if (stamp)
        stamp++;
}

static int divisor(int a, int b) {
    return b ? divisor(b, a % b) : a;
}

/* A step that meets every phase once before any twice, and keeps what follows on one another
 * apart. */
static void lay_phases(long interval_us) {
    phase_count = interval_us < TICK_US ? 1 : interval_us / TICK_US;
    phase_step = phase_count * 0.618 + 1;
    while (divisor(phase_step, phase_count) != 1)
        phase_step++;
    phases = malloc(phase_count * sizeof *phases);
    for (int i = 0; i < phase_count; i++)
        phases[i] = -1;
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN); /* whoever hangs up ends no other's stream */
    lay_phases(atol(arguments[1]));
    read_answers();
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int epoll = epoll_create1(0), listener = listen_anywhere();
    watch(epoll, listener);
    watch(epoll, timer);
    watch(epoll, STDIN_FILENO);
    for (;;) {
        struct epoll_event ready[256];
        int many = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < many; i++) {
            int fd = ready[i].data.fd;
            uint64_t ticks;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener)
                accept_all(epoll, listener);
            else if (fd != timer)
                read_from(fd);
            else if (read(timer, &ticks, sizeof ticks) > 0)
                send_events();
        }
    }
}
