/*
 * Frame source of the 64-octet workload: Ethernet/IPv4/UDP frames sent on an interface by AF_PACKET, 64 a system call,
 * past the queueing discipline, as fast as one core can. The sink needs no program: the far interface's own receive
 * counter says what was delivered, and the destination address is a station that is not the interface itself, so the
 * far kernel throws each frame away at its first look (PACKET_OTHERHOST).
 *
 *   generator send INTERFACE SOURCE_MAC DESTINATION_MAC SIZE FLOWS SEED     until it is killed; says "sending"
 *   generator fresh INTERFACE SOURCE_MAC DESTINATION_MAC SIZE FLOWS SEED    as `send`, but no two frames are of one flow
 *   generator announce INTERFACE SOURCE_MAC                                 one broadcast, so that switches learn
 *   generator claim INTERFACE SOURCE_MAC ADDRESS                            a gratuitous ARP request: ADDRESS is at that MAC
 *   generator once INTERFACE SOURCE_MAC DESTINATION_MAC SIZE FLOWS SEED     each flow's frame once
 *   generator answer INTERFACE SOURCE_MAC DESTINATION_MAC SIZE FLOWS SEED   each flow's answer once: with `once`, connections
 *
 * `answer` takes one argument more where the flows were translated: the ADDRESS that the answers go to.
 * FLOWS source ports are used in turn, drawn from SEED. Addresses are those of the documentation.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES_PER_CALL 64
#define FLOWS_MAX 4096
#define FRAME_SIZE_MAX 1514

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void parse_mac(const char *text, uint8_t *mac) {
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
    fprintf(stderr, "generator: %s is not a MAC address\n", text);
    exit(2);
  }
}

static int open_socket(const char *interface) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket(AF_PACKET)");
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(interface)};
  if (!address.sll_ifindex) die(interface);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  int on = 1;
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0) die("PACKET_QDISC_BYPASS");
  return fd;
}

static uint16_t ip_checksum(const uint8_t *header) {
  uint32_t sum = 0;
  for (int index = 0; index < 20; index += 2) sum += header[index] << 8 | header[index + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  return ~(sum + (sum >> 16));
}

static uint32_t random_state;

/* xorshift32: the same seed gives the same frames on every machine. */
static uint32_t random_word(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static void put16(uint8_t *at, uint16_t value) {
  at[0] = value >> 8;
  at[1] = value;
}

/* 192.0.2.1 > 192.0.2.2, UDP without checksum (allowed over IPv4) to the discard port; or the answer to that. */
static void build_frame(uint8_t *frame, unsigned size, const uint8_t *source, const uint8_t *destination, int is_answer) {
  static const uint8_t addresses[12] = {192, 0, 2, 1, 192, 0, 2, 2, 192, 0, 2, 1};
  memset(frame, 0xa5, size);
  memcpy(frame, destination, 6);
  memcpy(frame + 6, source, 6);
  put16(frame + 12, ETH_P_IP);
  uint8_t *ip = frame + 14;
  memset(ip, 0, 28);
  ip[0] = 0x45;
  put16(ip + 2, size - 14);
  ip[8] = 64;
  ip[9] = IPPROTO_UDP;
  memcpy(ip + 12, addresses + (is_answer ? 4 : 0), 8);
  put16(ip + 10, ip_checksum(ip));
  put16(ip + (is_answer ? 22 : 20), 49152 + random_word() % 16384);
  put16(ip + (is_answer ? 20 : 22), 9);
  put16(ip + 24, size - 34);
}

static void announce(const char *interface, const char *mac_text) {
  uint8_t frame[60] = {0}, mac[6], everyone[6] = {255, 255, 255, 255, 255, 255};
  parse_mac(mac_text, mac);
  random_state = 1;
  build_frame(frame, sizeof frame, mac, everyone, 0);
  int fd = open_socket(interface);
  if (send(fd, frame, sizeof frame, 0) < 0) die("send");
}

static void parse_address(const char *text, uint8_t *address) {
  if (inet_pton(AF_INET, text, address) != 1) {
    fprintf(stderr, "generator: %s is not an IPv4 address\n", text);
    exit(2);
  }
}

static void claim(const char *interface, const char *mac_text, const char *address) {
  static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
  uint8_t frame[60] = {0};
  memset(frame, 0xff, 6);
  parse_mac(mac_text, frame + 6);
  put16(frame + 12, ETH_P_ARP);
  memcpy(frame + 14, head, 8);
  memcpy(frame + 22, frame + 6, 6);
  parse_address(address, frame + 28);
  parse_address(address, frame + 38);
  int fd = open_socket(interface);
  if (send(fd, frame, sizeof frame, 0) < 0) die("send");
}

/* Gives the frame another destination address. */
static void readdress(uint8_t *frame, const char *address) {
  parse_address(address, frame + 30);
  put16(frame + 24, 0);
  put16(frame + 24, ip_checksum(frame + 14));
}

static uint8_t frames[FLOWS_MAX][FRAME_SIZE_MAX];

/* Makes a frame of each flow and opens the interface. Arguments as `send` has them. */
static int prepare(char **argv, unsigned *size, unsigned *flows, int is_answer) {
  uint8_t source[6], destination[6];
  *size = atoi(argv[5]);
  *flows = atoi(argv[6]);
  parse_mac(argv[3], source);
  parse_mac(argv[4], destination);
  random_state = strtoul(argv[7], NULL, 10) | 1;
  if (*size < 42 || *size > FRAME_SIZE_MAX || *flows < 1 || *flows > FLOWS_MAX) {
    fprintf(stderr, "generator: size 42 to %d, flows 1 to %d\n", FRAME_SIZE_MAX, FLOWS_MAX);
    exit(2);
  }
  for (unsigned flow = 0; flow < *flows; flow++) build_frame(frames[flow], *size, source, destination, is_answer);
  return open_socket(argv[2]);
}

/* The next of 2^30 pairs of ports. */
static void make_fresh(uint8_t *frame, uint32_t number) {
  put16(frame + 34, 49152 + number % 16384);
  put16(frame + 36, 1 + number / 16384 % 65535);
}

static void send_frames(char **argv, int is_fresh) {
  static struct iovec vectors[FLOWS_MAX];
  static struct mmsghdr messages[FLOWS_MAX + FRAMES_PER_CALL];
  unsigned size, flows, next = 0;
  uint32_t number = 0;
  int fd = prepare(argv, &size, &flows, 0);
  for (unsigned flow = 0; flow < flows; flow++) vectors[flow] = (struct iovec){frames[flow], size};
  /* Wraps without a special case: the first messages are repeated behind the last. */
  for (unsigned index = 0; index < flows + FRAMES_PER_CALL; index++) {
    messages[index].msg_hdr.msg_iov = &vectors[index % flows];
    messages[index].msg_hdr.msg_iovlen = 1;
  }
  puts("sending");
  fflush(stdout);
  for (;;) {
    for (unsigned index = 0; is_fresh && index < FRAMES_PER_CALL; index++)
      make_fresh(messages[next + index].msg_hdr.msg_iov->iov_base, number++);
    /* ENOBUFS: the interface's queue is full. The frame is lost, which is what overload means; go on with the next. */
    int sent = sendmmsg(fd, messages + next, FRAMES_PER_CALL, 0);
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) die("sendmmsg");
    next = (next + (sent < 0 ? 1 : sent)) % flows;
  }
}

/* Slowly enough that no queue on the way is full. */
static void send_once(char **argv, int is_answer, const char *address) {
  unsigned size, flows;
  int fd = prepare(argv, &size, &flows, is_answer);
  for (unsigned flow = 0; address && flow < flows; flow++) readdress(frames[flow], address);
  for (unsigned flow = 0; flow < flows; flow++) {
    if (send(fd, frames[flow], size, 0) < 0) die("send");
    if (flow % FRAMES_PER_CALL == FRAMES_PER_CALL - 1) usleep(1000);
  }
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "announce")) {
    announce(argv[2], argv[3]);
    return 0;
  }
  if (argc == 8 && !strcmp(argv[1], "send")) send_frames(argv, 0);
  if (argc == 8 && !strcmp(argv[1], "fresh")) send_frames(argv, 1);
  if (argc == 8 && !strcmp(argv[1], "once")) return send_once(argv, 0, NULL), 0;
  if (argc == 8 && !strcmp(argv[1], "answer")) return send_once(argv, 1, NULL), 0;
  if (argc == 9 && !strcmp(argv[1], "answer")) return send_once(argv, 1, argv[8]), 0;
  if (argc == 5 && !strcmp(argv[1], "claim")) return claim(argv[2], argv[3], argv[4]), 0;
  fprintf(stderr, "usage: generator send|fresh|once|answer INTERFACE SOURCE_MAC DESTINATION_MAC SIZE FLOWS SEED\n"
                  "       generator announce INTERFACE SOURCE_MAC\n");
  return 2;
}
