/*
 * The far ends of the system tests, one small program so that a test needs no packages of its own:
 *
 *   peer station IFACE               raw frames: a line of hex on stdin is sent, a line of hex on stdout was received.
 *                                    VLAN tags that the kernel keeps out of band are put back where they were.
 *   peer capture IFACE FILE          what is delivered to IFACE, as pcap, until SIGTERM. Checksums that the virtio-net
 *                                    header leaves to the receiver are completed as a network card would, so that a
 *                                    wrong header shows as a wrong checksum to whoever reads the file.
 *   peer pings ADDRESS SIZES         one echo of each size (`0-1500,2000-65507:499`), every octet compared
 *   peer train ADDRESS INTERVAL_US   an echo each interval until SIGTERM
 *   peer serve ADDRESS PORT          TCP: checks the pattern of each connection and sends as much of it back
 *   peer transfer ADDRESS PORT SIZE  TCP: sends SIZE octets of the pattern and checks what comes back
 *   peer listen ADDRESS PORT         UDP: counts datagrams until SIGTERM and then until no more come for half a second
 *   peer shout ADDRESS PORT COUNT    UDP: sends numbered datagrams to a group or broadcast address
 *   peer flows ADDRESS PORT COUNT EACH   UDP: that many datagrams from each of COUNT source ports, in turns
 *   peer spray ADDRESS PORT HEX COUNT    UDP: the same datagram again and again, about 100,000 a second
 *   peer freeze THREAD               stops one thread of another process (as a debugger would) until SIGTERM
 *
 * Who starts something that takes time to be ready says "ready"; results are one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX (128 * 1024)
#define PING_PATIENCE_NS 5000000000ull
#define SOCKET_BUFFER (64 * 1024 * 1024)
#define TRAIN_MAX 1000000u

static volatile sig_atomic_t stopped;
static void on_stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
}

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

/* ---- raw frames ---- */

/* Protocol 0 until the options hold, so that nothing arrives before. */
static int packet_socket(const char *device, int vnet_header) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1, size = SOCKET_BUFFER;
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  if (fd < 0) die("AF_PACKET");
  address.sll_ifindex = if_nametoindex(device);
  if (address.sll_ifindex == 0) die(device);
  if (vnet_header && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0) die("PACKET_VNET_HDR");
  if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0) die("PACKET_AUXDATA");
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) die("PACKET_IGNORE_OUTGOING");
  struct packet_mreq promiscuous = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) != 0) die("promiscuous");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
  return fd;
}

/* One frame with its tag in place; *tag_size tells by how much it grew. -1: nothing there. */
static ssize_t receive_frame(int fd, uint8_t *buffer, size_t header_size, size_t *tag_size) {
  char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
  struct iovec part = {buffer, FRAME_MAX};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT);
  *tag_size = 0;
  if (size < (ssize_t)(header_size + 14)) return size < 0 ? -1 : size;
  for (struct cmsghdr *part_of = CMSG_FIRSTHDR(&message); part_of; part_of = CMSG_NXTHDR(&message, part_of)) {
    if (part_of->cmsg_level != SOL_PACKET || part_of->cmsg_type != PACKET_AUXDATA) continue;
    struct tpacket_auxdata aux;
    memcpy(&aux, CMSG_DATA(part_of), sizeof aux);
    if (!(aux.tp_status & TP_STATUS_VLAN_VALID)) continue;
    uint16_t tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
    uint8_t *at = buffer + header_size + 12;
    memmove(at + 4, at, size - header_size - 12);
    at[0] = tpid >> 8, at[1] = tpid, at[2] = aux.tp_vlan_tci >> 8, at[3] = aux.tp_vlan_tci;
    *tag_size = 4;
    size += 4;
  }
  return size;
}

static void print_frame(const uint8_t *frame, ssize_t size) {
  static const char digits[] = "0123456789abcdef";
  static char line[2 * FRAME_MAX + 2];
  for (ssize_t i = 0; i < size; i++) line[2 * i] = digits[frame[i] >> 4], line[2 * i + 1] = digits[frame[i] & 15];
  line[2 * size] = '\n';
  fwrite(line, 1, 2 * size + 1, stdout);
}

static int nibble(char digit) {
  return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
}

static void send_line(int fd, const char *line, size_t length) {
  static uint8_t frame[FRAME_MAX];
  size_t size = length / 2;
  for (size_t i = 0; i < size; i++) frame[i] = nibble(line[2 * i]) << 4 | nibble(line[2 * i + 1]);
  while (send(fd, frame, size, 0) < 0) {
    if (errno != ENOBUFS && errno != EAGAIN) {
      printf("! %s\n", strerror(errno));
      return;
    }
    usleep(1000);
  }
}

static int station(const char *device) {
  static uint8_t frame[FRAME_MAX + 4];
  static char text[4 * FRAME_MAX];
  size_t filled = 0, tag_size;
  int fd = packet_socket(device, 0);
  say("ready");
  for (;;) {
    struct pollfd both[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    if (poll(both, 2, -1) < 0) continue;
    if (both[1].revents != 0) {
      ssize_t size;
      while ((size = receive_frame(fd, frame, 0, &tag_size)) >= 0) print_frame(frame, size);
      fflush(stdout);
    }
    if (both[0].revents == 0) continue;
    ssize_t got = read(0, text + filled, sizeof text - filled);
    if (got <= 0) return 0;
    filled += got;
    char *from = text, *end;
    while ((end = memchr(from, '\n', text + filled - from)) != NULL) {
      send_line(fd, from, end - from);
      from = end + 1;
    }
    filled -= from - text;
    memmove(text, from, filled);
    fflush(stdout);
  }
}

static uint16_t sum16(const uint8_t *octets, size_t size) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < size; i += 2) sum += octets[i] << 8 | octets[i + 1];
  if (size & 1) sum += octets[size - 1] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void write_record(FILE *file, const uint8_t *frame, uint32_t size) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  uint32_t head[4] = {time.tv_sec, time.tv_nsec / 1000, size, size};
  fwrite(head, sizeof head, 1, file);
  fwrite(frame, size, 1, file);
}

static int capture(const char *device, const char *name) {
  static uint8_t buffer[FRAME_MAX + 64];
  const uint32_t head[6] = {0xa1b2c3d4, 4 << 16 | 2, 0, 0, 262144, 1};
  uint64_t frames = 0, partial = 0, super_frames = 0;
  size_t tag_size;
  FILE *file = fopen(name, "w");
  if (file == NULL) die(name);
  fwrite(head, sizeof head, 1, file);
  int fd = packet_socket(device, 1);
  say("ready");
  for (;;) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    ssize_t size = -1;
    if (poll(&one, 1, 50) > 0) size = receive_frame(fd, buffer, sizeof(struct virtio_net_hdr), &tag_size);
    if (size < 0) {
      if (stopped) break;
      continue;
    }
    struct virtio_net_hdr header;
    memcpy(&header, buffer, sizeof header);
    uint8_t *frame = buffer + sizeof header;
    size -= sizeof header;
    frames++;
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) super_frames++;
    if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
      size_t start = header.csum_start + tag_size, at = start + header.csum_offset;
      partial++;
      if (at + 2 <= (size_t)size) {
        uint16_t sum = sum16(frame + start, size - start);
        frame[at] = sum >> 8, frame[at + 1] = sum;
      }
    }
    write_record(file, frame, size);
  }
  fclose(file);
  printf("{\"frames\":%lu,\"partial\":%lu,\"superFrames\":%lu}\n", frames, partial, super_frames);
  return 0;
}

/* ---- echoes ---- */

static struct sockaddr_storage resolve(const char *address, const char *port, socklen_t *length) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found;
  struct sockaddr_storage result = {0};
  if (getaddrinfo(address, port, &hints, &found) != 0) {
    fprintf(stderr, "bad address %s\n", address);
    exit(2);
  }
  memcpy(&result, found->ai_addr, found->ai_addrlen);
  *length = found->ai_addrlen;
  freeaddrinfo(found);
  return result;
}

static int echo_socket(const struct sockaddr_storage *to, socklen_t length) {
  int is_v6 = to->ss_family == AF_INET6, size = SOCKET_BUFFER;
  int fd = socket(to->ss_family, SOCK_RAW | SOCK_CLOEXEC, is_v6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
  if (fd < 0) die("raw ICMP");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (connect(fd, (const struct sockaddr *)to, length) != 0) die("connect");
  return fd;
}

static size_t make_echo(uint8_t *message, int is_v6, uint16_t id, uint32_t number, size_t size) {
  memset(message, 0, 8);
  message[0] = is_v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  message[4] = id >> 8, message[5] = id, message[6] = number >> 8, message[7] = number;
  for (size_t i = 0; i < size; i++) message[8 + i] = (number * 2654435761u + i * 40503u) >> 8;
  if (!is_v6) {
    uint16_t sum = sum16(message, size + 8);
    message[2] = sum >> 8, message[3] = sum;
  }
  return size + 8;
}

/* The echo reply in a received message, or NULL. */
static const uint8_t *reply_in(const uint8_t *buffer, ssize_t size, int is_v6, uint16_t id, size_t *length) {
  size_t skip = is_v6 ? 0 : (buffer[0] & 15) * 4u;
  if (size < (ssize_t)skip + 8) return NULL;
  const uint8_t *message = buffer + skip;
  if (message[0] != (is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY)) return NULL;
  if ((message[4] << 8 | message[5]) != id) return NULL;
  *length = size - skip;
  return message;
}

static int ping_once(int fd, int is_v6, uint32_t number, size_t size) {
  static uint8_t wanted[FRAME_MAX], buffer[FRAME_MAX];
  uint16_t id = getpid();
  size_t length = make_echo(wanted, is_v6, id, number, size), got;
  uint64_t deadline = now_ns() + PING_PATIENCE_NS;
  if (send(fd, wanted, length, 0) < 0) die("send");
  while (now_ns() < deadline) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (poll(&one, 1, 100) <= 0) continue;
    ssize_t received = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    const uint8_t *reply = received < 0 ? NULL : reply_in(buffer, received, is_v6, id, &got);
    if (reply == NULL || ((reply[6] << 8 | reply[7]) & 0xffffu) != (number & 0xffff)) continue;
    return got == length && memcmp(reply + 8, wanted + 8, length - 8) == 0 ? 0 : 2;
  }
  return 1;
}

static int pings(const char *address, char *sizes) {
  socklen_t length;
  struct sockaddr_storage to = resolve(address, NULL, &length);
  int fd = echo_socket(&to, length), is_v6 = to.ss_family == AF_INET6;
  uint32_t sent = 0, lost = 0, wrong = 0, bad_size = 0;
  for (char *part = strtok(sizes, ","); part != NULL; part = strtok(NULL, ",")) {
    unsigned first, last, step = 1;
    int fields = sscanf(part, "%u-%u:%u", &first, &last, &step);
    if (fields < 2) last = first;
    for (unsigned size = first; size <= last; size += step) {
      int outcome = ping_once(fd, is_v6, sent++, size);
      if (outcome != 0) bad_size = size;
      lost += outcome == 1;
      wrong += outcome == 2;
      if (lost > 2) goto over;
    }
  }
over:
  printf("{\"sent\":%u,\"lost\":%u,\"wrong\":%u,\"badSize\":%u}\n", sent, lost, wrong, bad_size);
  return 0;
}

static uint32_t take_replies(int fd, int is_v6, uint16_t id, uint8_t *seen, uint32_t sent) {
  uint8_t buffer[2048];
  uint32_t fresh = 0;
  size_t length;
  ssize_t size;
  while ((size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) >= 0) {
    const uint8_t *reply = reply_in(buffer, size, is_v6, id, &length);
    uint32_t number;
    if (reply == NULL || length < 12) continue;
    memcpy(&number, reply + 8, 4);
    if (number < sent && !seen[number]) seen[number] = 1, fresh++;
  }
  return fresh;
}

static int train(const char *address, unsigned interval_us) {
  static uint8_t seen[TRAIN_MAX], message[64];
  socklen_t length;
  struct sockaddr_storage to = resolve(address, NULL, &length);
  int fd = echo_socket(&to, length), is_v6 = to.ss_family == AF_INET6;
  uint16_t id = getpid();
  uint32_t sent = 0, received = 0, first_lost = 0;
  say("ready");
  while (!stopped && sent < TRAIN_MAX) {
    make_echo(message, is_v6, id, 0, 24);
    memcpy(message + 8, &sent, 4);
    if (!is_v6) {
      message[2] = message[3] = 0;
      uint16_t sum = sum16(message, 32);
      message[2] = sum >> 8, message[3] = sum;
    }
    if (send(fd, message, 32, 0) < 0 && errno != ENOBUFS) die("send");
    sent++;
    usleep(interval_us);
    received += take_replies(fd, is_v6, id, seen, sent);
  }
  for (uint64_t deadline = now_ns() + PING_PATIENCE_NS; received < sent && now_ns() < deadline; usleep(1000))
    received += take_replies(fd, is_v6, id, seen, sent);
  while (first_lost < sent && seen[first_lost]) first_lost++;
  printf("{\"sent\":%u,\"lost\":%u,\"firstLost\":%u}\n", sent, sent - received, first_lost);
  return 0;
}

/* ---- TCP ---- */

/* Octet i of the pattern depends on i alone, and no two frames' worth of it are alike. */
static void fill_pattern(uint8_t *buffer, uint64_t from, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint64_t at = from + i;
    buffer[i] = (uint8_t)((at * 0x9e3779b97f4a7c15ull) >> 56) ^ (uint8_t)(at >> 11);
  }
}

#define BLOCK (64 * 1024)

/* Sends and receives at once until both are done; wrong octets end it. Returns octets received rightly. */
static uint64_t exchange(int fd, uint64_t to_send, int echoes) {
  static uint8_t out[BLOCK], in[BLOCK], wanted[BLOCK];
  uint64_t sent = 0, received = 0;
  int is_over = 0, is_closed = 0;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  for (;;) {
    uint64_t goal = echoes ? received : to_send;
    if (sent == goal && !is_closed && (!echoes || is_over)) shutdown(fd, SHUT_WR), is_closed = 1;
    if (is_over && is_closed) return received;
    struct pollfd one = {.fd = fd, .events = (is_over ? 0 : POLLIN) | (sent < goal ? POLLOUT : 0)};
    if (poll(&one, 1, 20000) <= 0) die("no progress for 20 s");
    if (sent < goal) {
      size_t size = goal - sent < BLOCK ? goal - sent : BLOCK;
      fill_pattern(out, sent, size);
      ssize_t done = send(fd, out, size, MSG_NOSIGNAL);
      if (done > 0) sent += done;
      else if (done < 0 && errno != EAGAIN) die("send");
    }
    if (is_over) continue;
    ssize_t size = recv(fd, in, BLOCK, 0);
    if (size < 0) {
      if (errno != EAGAIN) die("recv");
      continue;
    }
    if (size == 0) is_over = 1;
    fill_pattern(wanted, received, size);
    if (memcmp(in, wanted, size) != 0) {
      fprintf(stderr, "octets differ after %lu\n", received);
      exit(1);
    }
    received += size;
  }
}

static int serve(const char *address, const char *port) {
  socklen_t length;
  struct sockaddr_storage at = resolve(address, port, &length);
  int listener = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&at, length) != 0 || listen(listener, 16) != 0) die("listen");
  say("ready");
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    if (fork() == 0) {
      exchange(fd, 0, 1);
      _exit(0);
    }
    signal(SIGCHLD, SIG_IGN);
    close(fd);
  }
}

static int transfer(const char *address, const char *port, uint64_t size) {
  socklen_t length;
  struct sockaddr_storage to = resolve(address, port, &length);
  int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&to, length) != 0) die("connect");
  printf("{\"received\":%lu}\n", exchange(fd, size, 0));
  return 0;
}

/* ---- groups ---- */

static int listen_udp(const char *address, const char *port) {
  socklen_t length;
  struct sockaddr_storage at = resolve(address, port, &length);
  int fd = socket(at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, size = SOCKET_BUFFER;
  unsigned count = 0;
  char buffer[2048];
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&at, length) != 0) die("bind");
  struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
  if (at.ss_family == AF_INET && IN_MULTICAST(ntohl(v4->sin_addr.s_addr))) {
    struct ip_mreqn group = {.imr_multiaddr = v4->sin_addr, .imr_ifindex = if_nametoindex("eth0")};
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0) die("join");
  }
  say("ready");
  for (int ready = 1; !stopped || ready > 0;) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    ready = poll(&one, 1, stopped ? 500 : 50);
    if (ready > 0)
      while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) count++;
  }
  printf("{\"datagrams\":%u}\n", count);
  return 0;
}

static int shout(const char *address, const char *port, unsigned count) {
  socklen_t length;
  struct sockaddr_storage to = resolve(address, port, &length);
  int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
  struct ip_mreqn by = {.imr_ifindex = if_nametoindex("eth0")};
  setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by);
  for (unsigned i = 0; i < count; i++) {
    if (sendto(fd, &i, sizeof i, 0, (struct sockaddr *)&to, length) < 0) die("sendto");
    usleep(2000);
  }
  return 0;
}

#define FLOWS_MAX 4096

static int flows(const char *address, const char *port, unsigned count, unsigned each) {
  static int fds[FLOWS_MAX];
  socklen_t length;
  struct sockaddr_storage to = resolve(address, port, &length);
  if (count > FLOWS_MAX) count = FLOWS_MAX;
  struct rlimit files = {FLOWS_MAX + 64, FLOWS_MAX + 64};
  setrlimit(RLIMIT_NOFILE, &files);
  for (unsigned flow = 0; flow < count; flow++) {
    fds[flow] = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fds[flow] < 0 || connect(fds[flow], (struct sockaddr *)&to, length) != 0) die("connect");
  }
  for (unsigned round = 0; round < each; round++)
    for (unsigned flow = 0; flow < count; flow++) {
      /* Whoever is not there answers with "port unreachable", which the next call tells. */
      if (send(fds[flow], &flow, sizeof flow, 0) < 0 && errno != ECONNREFUSED) die("send");
      if (flow % 16 == 0) usleep(1000);
    }
  printf("{\"sent\":%u}\n", count * each);
  return 0;
}

#define SPRAY_BURST 64
#define SPRAY_PERIOD_NS 640000

static int spray(const char *address, const char *port, const char *hex, unsigned count) {
  static uint8_t payload[FRAME_MAX];
  size_t size = strlen(hex) / 2;
  socklen_t length;
  struct sockaddr_storage to = resolve(address, port, &length);
  int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, length) != 0) die("connect");
  for (size_t i = 0; i < size; i++) payload[i] = nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]);
  uint64_t start = now_ns();
  for (unsigned sent = 0; sent < count; sent++) {
    while (sent % SPRAY_BURST == 0 && now_ns() - start < (uint64_t)sent / SPRAY_BURST * SPRAY_PERIOD_NS) usleep(50);
    if (send(fd, payload, size, 0) < 0 && errno != ECONNREFUSED) die("send");
  }
  printf("{\"sent\":%u}\n", count);
  return 0;
}

static int freeze(pid_t thread) {
  if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0) die("PTRACE_SEIZE");
  if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) die("PTRACE_INTERRUPT");
  if (waitpid(thread, NULL, __WALL) < 0) die("waitpid");
  say("ready");
  while (!stopped) usleep(20000);
  ptrace(PTRACE_DETACH, thread, 0, 0);
  return 0;
}

int main(int count, char **words) {
  const char *what = count > 2 ? words[1] : "";
  signal(SIGTERM, on_stop);
  if (!strcmp(what, "station") && count == 3) return signal(SIGTERM, SIG_DFL), station(words[2]);
  if (!strcmp(what, "capture") && count == 4) return capture(words[2], words[3]);
  if (!strcmp(what, "pings") && count == 4) return pings(words[2], words[3]);
  if (!strcmp(what, "train") && count == 4) return train(words[2], atoi(words[3]));
  if (!strcmp(what, "serve") && count == 4) return signal(SIGTERM, SIG_DFL), serve(words[2], words[3]);
  if (!strcmp(what, "transfer") && count == 5) return transfer(words[2], words[3], strtoull(words[4], NULL, 10));
  if (!strcmp(what, "listen") && count == 4) return listen_udp(words[2], words[3]);
  if (!strcmp(what, "shout") && count == 5) return shout(words[2], words[3], atoi(words[4]));
  if (!strcmp(what, "flows") && count == 6) return flows(words[2], words[3], atoi(words[4]), atoi(words[5]));
  if (!strcmp(what, "spray") && count == 6) return spray(words[2], words[3], words[4], atoi(words[5]));
  if (!strcmp(what, "freeze") && count == 3) return freeze(atoi(words[2]));
  fprintf(stderr, "see the head of peer.c\n");
  return 2;
}
