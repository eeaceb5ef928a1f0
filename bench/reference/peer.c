/*
 * The two ends of every workload that needs answers: a TCP stream as iperf3 makes one, request/response as netperf's
 * TCP_RR, and a train of datagrams that shows a disturbance by what is missing or late.
 *
 *   peer sink PORT WARMUP_MS WINDOW_MS                  receives; measures octets delivered
 *   peer source ADDRESS PORT                            sends until the sink closes
 *   peer respond PORT                                   sends back each octet
 *   peer request ADDRESS PORT WARMUP_MS WINDOW_MS       one octet there, one back; measures each round trip
 *   peer echo PORT                                      sends back each datagram, until it is killed
 *   peer train ADDRESS PORT INTERVAL_US                 a numbered datagram each interval, until SIGTERM; measures loss
 *
 * A listener says "listening". The measuring side says "begin" when its warm-up is over, and the result as one line of
 * JSON at the end, so that the harness can read the switch's CPU time at both moments.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* iperf3's size of a write. */
#define BLOCK_SIZE (128 * 1024)
/* Round trips kept for the percentiles: 100 s at 2.5 us. */
#define ROUND_TRIPS_MAX 40000000u
/* How long a train waits for the last echoes. */
#define TRAIN_PATIENCE_NS 1000000000ull
#define CONNECT_TRIES 40
#define CONNECT_TRY_MS 250

static char block[BLOCK_SIZE];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void say(const char *line) {
  puts(line);
  fflush(stdout);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int accept_one(const char *port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  if (listen(listener, 1) < 0) die("listen");
  say("listening");
  int connection = accept(listener, NULL, NULL);
  if (connection < 0) die("accept");
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return connection;
}

/* One try with its own short patience: a first SYN lost while a switch starts would else cost a second. */
static int try_connect(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
  socklen_t size = sizeof error;
  struct pollfd wait = {.fd = fd, .events = POLLOUT};
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS) error = errno;
  if (!error && poll(&wait, 1, CONNECT_TRY_MS) == 1) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  else error = ETIMEDOUT;
  if (!error) return fd;
  close(fd);
  errno = error;
  return -1;
}

static int connect_to(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(host);
  for (int try = 0; try < CONNECT_TRIES; try++) {
    int fd = try_connect(&address), on = 1;
    if (fd >= 0) {
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return fd;
    }
    usleep(50000);
  }
  die("connect");
  return -1;
}

/* Octets received until `until`; the time of the last look is left in *end. */
static uint64_t drain(int fd, uint64_t until, uint64_t *end) {
  uint64_t octets = 0;
  while ((*end = now_ns()) < until) {
    ssize_t size = read(fd, block, sizeof block);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) die("read");
    if (size == 0) {
      fprintf(stderr, "peer: the stream ended early\n");
      exit(1);
    }
    octets += size;
  }
  return octets;
}

static void sink(char **argv) {
  int fd = accept_one(argv[2]);
  uint64_t begin, end;
  drain(fd, now_ns() + strtoull(argv[3], NULL, 10) * 1000000, &begin);
  say("begin");
  uint64_t octets = drain(fd, begin + strtoull(argv[4], NULL, 10) * 1000000, &end);
  printf("{\"octets\":%llu,\"nanoseconds\":%llu}\n", (unsigned long long)octets, (unsigned long long)(end - begin));
}

static void source(char **argv) {
  int fd = connect_to(argv[2], argv[3]);
  memset(block, 0xa5, sizeof block);
  while (write(fd, block, sizeof block) > 0 || errno == EINTR)
    ;
}

static void respond(char **argv) {
  int fd = accept_one(argv[2]);
  char octet;
  while (read(fd, &octet, 1) == 1 && write(fd, &octet, 1) == 1)
    ;
}

static int ascending(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

/* Round trips until `until`, their times in ns into `times` (not kept when NULL). */
static uint32_t round_trips(int fd, uint64_t until, uint32_t *times) {
  uint32_t count = 0;
  char octet = 0;
  for (uint64_t before = now_ns(), after; before < until && count < ROUND_TRIPS_MAX; before = after) {
    if (write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1) die("round trip");
    after = now_ns();
    if (times) times[count] = after - before;
    count++;
  }
  return count;
}

static void request(char **argv) {
  int fd = connect_to(argv[2], argv[3]);
  uint32_t *times = malloc(ROUND_TRIPS_MAX * sizeof *times);
  if (!times) die("malloc");
  round_trips(fd, now_ns() + strtoull(argv[4], NULL, 10) * 1000000, NULL);
  say("begin");
  uint32_t count = round_trips(fd, now_ns() + strtoull(argv[5], NULL, 10) * 1000000, times);
  qsort(times, count, sizeof *times, ascending);
  printf("{\"count\":%u,\"p50\":%u,\"p90\":%u,\"p99\":%u,\"p999\":%u,\"max\":%u}\n", count, times[count / 2],
         times[(uint64_t)count * 90 / 100], times[(uint64_t)count * 99 / 100], times[(uint64_t)count * 999 / 1000],
         times[count - 1]);
}

/*
 * What travels: when it was sent, how long it was under way to the echo, and when the echo sent it back. A machine that
 * waits for a processor of its own looks at its socket late, so arrival is when the kernel had it (SO_TIMESTAMPNS): what is
 * under way for long was held up between the two machines.
 */
struct probe {
  uint64_t sent_at, outward, returned_at;
};

static uint64_t wall_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void stamp_arrivals(int fd) {
  int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0) die("SO_TIMESTAMPNS");
}

/* Takes a probe and when the kernel had it; 0: none is there. */
static int take_probe(int fd, struct probe *probe, struct sockaddr_in *from, uint64_t *arrived_at, int flags) {
  char control[64];
  struct timespec time = {0};
  struct iovec part = {probe, sizeof *probe};
  struct msghdr message = {.msg_name = from, .msg_namelen = sizeof *from, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(fd, &message, flags) != sizeof *probe) return 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPNS)
      memcpy(&time, CMSG_DATA(header), sizeof time);
  *arrived_at = time.tv_sec * 1000000000ull + time.tv_nsec;
  return 1;
}

static void echo(char **argv) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))}, from;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  stamp_arrivals(fd);
  say("listening");
  for (;;) {
    struct probe probe;
    uint64_t arrived_at;
    if (!take_probe(fd, &probe, &from, &arrived_at, 0)) continue;
    probe.outward = arrived_at - probe.sent_at;
    probe.returned_at = wall_ns();
    sendto(fd, &probe, sizeof probe, 0, (struct sockaddr *)&from, sizeof from);
  }
}

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
}

/* Round trips as the machine that asks sees them, and the longest way in either direction. */
struct train {
  uint64_t sent, received, slowest, longest_way;
};

/* Takes every echo that is there. */
static void collect(int fd, struct train *train) {
  struct probe probe;
  struct sockaddr_in from;
  uint64_t arrived_at;
  while (take_probe(fd, &probe, &from, &arrived_at, MSG_DONTWAIT)) {
    uint64_t took = wall_ns() - probe.sent_at, back = arrived_at - probe.returned_at;
    train->received++;
    if (took > train->slowest) train->slowest = took;
    if (probe.outward > train->longest_way) train->longest_way = probe.outward;
    if (back > train->longest_way) train->longest_way = back;
  }
}

static void train(char **argv) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  struct timespec pause = {.tv_nsec = atol(argv[4]) * 1000};
  struct train result = {0};
  if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) die(argv[2]);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  stamp_arrivals(fd);
  signal(SIGTERM, stop);
  for (; !stopped; nanosleep(&pause, NULL)) {
    struct probe probe = {.sent_at = wall_ns()};
    if (send(fd, &probe, sizeof probe, 0) == sizeof probe && ++result.sent == 1) say("begin");
    collect(fd, &result);
  }
  for (uint64_t end = now_ns() + TRAIN_PATIENCE_NS; result.received < result.sent && now_ns() < end; usleep(1000))
    collect(fd, &result);
  printf("{\"sent\":%llu,\"received\":%llu,\"slowestNanoseconds\":%llu,\"longestWayNanoseconds\":%llu}\n",
         (unsigned long long)result.sent, (unsigned long long)result.received, (unsigned long long)result.slowest,
         (unsigned long long)result.longest_way);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 5 && !strcmp(argv[1], "sink")) sink(argv);
  else if (argc == 4 && !strcmp(argv[1], "source")) source(argv);
  else if (argc == 3 && !strcmp(argv[1], "respond")) respond(argv);
  else if (argc == 6 && !strcmp(argv[1], "request")) request(argv);
  else if (argc == 3 && !strcmp(argv[1], "echo")) echo(argv);
  else if (argc == 5 && !strcmp(argv[1], "train")) train(argv);
  else {
    fprintf(stderr, "usage: peer sink PORT WARMUP_MS WINDOW_MS | source ADDRESS PORT | respond PORT |\n"
                    "            request ADDRESS PORT WARMUP_MS WINDOW_MS | echo PORT |\n"
                    "            train ADDRESS PORT INTERVAL_US\n");
    return 2;
  }
  return 0;
}
