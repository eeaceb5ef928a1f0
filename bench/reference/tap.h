/*
 * Opening a TAP the way weft does, for both reference patch panels: same flags, same offloads, so that what differs
 * between them and the switch is only how octets are moved and what is done with a frame.
 *
 * Constants that the headers of older distributions lack are defined here with the kernel's values.
 */
#ifndef WEFT_BENCH_TAP_H
#define WEFT_BENCH_TAP_H

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* A super-frame of 65,535 octets behind Ethernet header and tags, and the virtio-net header in front. */
#define FRAME_SIZE_MAX 65600

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* A new TAP, not persistent: it lives as long as the descriptor. Non-blocking. */
static int tap_open(const char *name, int vnet_header) {
  struct ifreq request;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die("/dev/net/tun");
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | (vnet_header ? IFF_VNET_HDR : 0);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die("TUNSETIFF");
  if (vnet_header) {
    unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    /* Linux before 6.2 knows no USO. */
    if (ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
      die("TUNSETOFFLOAD");
  }
  return fd;
}

/* Tells the harness that both TAPs exist and may be moved to their namespaces. */
static void say_ready(void) {
  puts("ready");
  fflush(stdout);
}

#endif
