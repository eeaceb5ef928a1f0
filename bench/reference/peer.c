/*
 * The two ends of the TCP workloads: a bulk stream as iperf3 makes one, and request/response as netperf's TCP_RR.
 *
 *   tcp-peer sink PORT WARMUP_MS WINDOW_MS                receives; measures octets delivered
 *   tcp-peer source ADDRESS PORT                          sends until the sink closes
 *   tcp-peer respond PORT                                 sends back each octet
 *   tcp-peer request ADDRESS PORT WARMUP_MS WINDOW_MS     one octet there, one back; measures each round trip
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* iperf3's size of a write. */
#define BLOCK_SIZE (128 * 1024)
/* Round trips kept for the percentiles: 100 s at 2.5 us. */
#define ROUND_TRIPS_MAX 40000000u
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
      fprintf(stderr, "tcp-peer: the stream ended early\n");
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

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  if (argc == 5 && !strcmp(argv[1], "sink")) sink(argv);
  else if (argc == 4 && !strcmp(argv[1], "source")) source(argv);
  else if (argc == 3 && !strcmp(argv[1], "respond")) respond(argv);
  else if (argc == 6 && !strcmp(argv[1], "request")) request(argv);
  else {
    fprintf(stderr, "usage: tcp-peer sink PORT WARMUP_MS WINDOW_MS | source ADDRESS PORT | respond PORT |\n"
                    "                request ADDRESS PORT WARMUP_MS WINDOW_MS\n");
    return 2;
  }
  return 0;
}
