/*
 * Reference: a patch panel between two TAPs on poll, read and write. What comes in by one goes out by the other,
 * untouched: no parsing, no learning, no counters. The upper bound of a switch that makes two system calls a frame.
 *
 *   patch-readwrite [--vnet] [--busy] TAP_A TAP_B
 *
 * --vnet  virtio-net headers with checksum, TSO and USO offloads, copied along unchecked
 * --busy  never sleeps: tries both TAPs in turn for ever (the bound of latency, at the price of a core)
 */
#include <errno.h>
#include <poll.h>

#include "tap.h"

/* Frames taken from one TAP before the other has its turn; more brought nothing, fewer costs polls. */
#define BURST 64

static char frame[FRAME_SIZE_MAX + 64] __attribute__((aligned(64)));

/* Moves up to BURST frames; stops when the TAP has no more. A frame the other side refuses is lost, as on a wire. */
static void move(int from, int to) {
  for (int count = 0; count < BURST; count++) {
    ssize_t size = read(from, frame, sizeof frame);
    if (size < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      die("read");
    }
    if (write(to, frame, size) < 0 && errno == EBADFD) die("write");
  }
}

int main(int argc, char **argv) {
  int vnet_header = 0, busy = 0, argument = 1;
  for (; argument < argc && argv[argument][0] == '-'; argument++) {
    if (!strcmp(argv[argument], "--vnet")) vnet_header = 1;
    else if (!strcmp(argv[argument], "--busy")) busy = 1;
    else argument = argc;
  }
  if (argc - argument != 2) {
    fprintf(stderr, "usage: patch-readwrite [--vnet] [--busy] TAP_A TAP_B\n");
    return 2;
  }
  struct pollfd taps[2] = {
      {.fd = tap_open(argv[argument], vnet_header), .events = POLLIN},
      {.fd = tap_open(argv[argument + 1], vnet_header), .events = POLLIN},
  };
  say_ready();
  for (;;) {
    if (busy) {
      taps[0].revents = taps[1].revents = POLLIN;
    } else if (poll(taps, 2, -1) < 0) {
      if (errno == EINTR) continue;
      die("poll");
    }
    if (taps[0].revents) move(taps[0].fd, taps[1].fd);
    if (taps[1].revents) move(taps[1].fd, taps[0].fd);
  }
}
