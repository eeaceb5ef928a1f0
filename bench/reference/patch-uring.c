/*
 * Reference: a patch panel between two TAPs on io_uring, by raw system calls (no liburing needed to build it). What
 * comes in by one goes out by the other, untouched. The upper bound of a switch whose I/O is built like weft's:
 *
 *   one ring, SINGLE_ISSUER | DEFER_TASKRUN; one multishot read per TAP into that TAP's provided-buffer ring; the same
 *   buffer is then submitted as a write to the other TAP and given back on completion; one io_uring_enter a breath.
 *
 *   patch-uring [--vnet] [--busy] TAP_A TAP_B
 *
 * --vnet  virtio-net headers with checksum, TSO and USO offloads, copied along unchecked
 * --busy  never sleeps in the ring
 *
 * Single thread. A buffer is owned by the kernel while it is in the provided ring, by us from the read's completion to
 * the write's submission, by the kernel again until the write's completion.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tap.h"

/* Linux 6.7; the header of an older distribution ends before it. */
#define OP_READ_MULTISHOT 49

#define SQ_ENTRIES 1024
#define CQ_ENTRIES 4096
/* Buffers a TAP reads into. A power of two. With super-frames fewer keep their octets inside the CPU's caches. */
#define BUFFERS 256
#define BUFFERS_VNET 128
/* Distance of two buffers: an odd multiple of 64, so that frame heads spread over all cache sets. */
#define STRIDE_VNET (65536 + 64 * 33)
#define STRIDE (2048 + 64)

#define IS_WRITE (1ull << 32)

struct port {
  int fd;
  int armed;                     /* a multishot read is outstanding */
  unsigned lent;                 /* buffers in the provided ring, as far as completions told us */
  uint16_t tail;                 /* of the provided ring; published once a breath */
  struct io_uring_buf_ring *ring;
  char *buffers;
};

static int ring_fd;
static unsigned *sq_head, *sq_tail, *cq_head, *cq_tail, sq_mask, cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static unsigned pending;         /* submission entries written, not yet told to the kernel */
static unsigned buffer_count, buffer_size, stride;
static struct port ports[2];

static int enter(unsigned submit, unsigned wait) {
  int result = syscall(__NR_io_uring_enter, ring_fd, submit, wait, IORING_ENTER_GETEVENTS, NULL, 0);
  if (result < 0 && errno != EINTR && errno != EBUSY && errno != EAGAIN) die("io_uring_enter");
  return result;
}

/* Submits what is pending. The kernel takes all of it: nothing is polled for by a thread of its own. */
static void submit(unsigned wait) {
  int taken = enter(pending, wait);
  if (taken > 0) pending -= taken;
}

static struct io_uring_sqe *next_sqe(void) {
  while (*sq_tail - __atomic_load_n(sq_head, __ATOMIC_ACQUIRE) > sq_mask) submit(0);
  struct io_uring_sqe *sqe = &sqes[*sq_tail & sq_mask];
  memset(sqe, 0, sizeof *sqe);
  return sqe;
}

static void push_sqe(void) {
  __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
  pending++;
}

static void arm(unsigned index) {
  struct io_uring_sqe *sqe = next_sqe();
  sqe->opcode = OP_READ_MULTISHOT;
  sqe->fd = ports[index].fd;
  sqe->off = -1;
  sqe->flags = IOSQE_BUFFER_SELECT;
  sqe->buf_group = index;
  sqe->user_data = index;
  push_sqe();
  ports[index].armed = 1;
}

static void write_frame(unsigned from, unsigned buffer, unsigned size) {
  struct io_uring_sqe *sqe = next_sqe();
  sqe->opcode = IORING_OP_WRITE;
  sqe->fd = ports[from ^ 1].fd;
  sqe->off = -1;
  sqe->addr = (uintptr_t)(ports[from].buffers + (size_t)buffer * stride);
  sqe->len = size;
  sqe->user_data = IS_WRITE | from << 16 | buffer;
  push_sqe();
}

/* Puts a buffer back where reads of this port take theirs from; `publish` makes it visible. */
static void lend(struct port *port, unsigned buffer) {
  /* Not ring->bufs: compiled as C++-safe flexible array in some headers, so count from the start. */
  struct io_uring_buf *entry = (struct io_uring_buf *)port->ring + (port->tail & (buffer_count - 1));
  entry->addr = (uintptr_t)(port->buffers + (size_t)buffer * stride);
  entry->len = buffer_size;
  entry->bid = buffer;
  port->tail++;
  port->lent++;
}

static void publish(struct port *port) { __atomic_store_n(&port->ring->tail, port->tail, __ATOMIC_RELEASE); }

static void complete(const struct io_uring_cqe *cqe) {
  if (cqe->user_data & IS_WRITE) {
    /* A refused frame (device down, out of memory) is lost, as on a wire. */
    lend(&ports[cqe->user_data >> 16 & 1], cqe->user_data & 0xffff);
    return;
  }
  unsigned index = cqe->user_data;
  if (!(cqe->flags & IORING_CQE_F_MORE)) ports[index].armed = 0;
  if (cqe->flags & IORING_CQE_F_BUFFER) ports[index].lent--;
  if (cqe->res > 0) {
    write_frame(index, cqe->flags >> IORING_CQE_BUFFER_SHIFT, cqe->res);
  } else if (cqe->flags & IORING_CQE_F_BUFFER) {
    lend(&ports[index], cqe->flags >> IORING_CQE_BUFFER_SHIFT);
  } else if (cqe->res != -ENOBUFS && cqe->res != -EAGAIN && cqe->res != -EINTR) {
    errno = -cqe->res;
    die("multishot read");
  }
}

static void *map(size_t size, int fd, off_t offset) {
  int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE : MAP_SHARED | MAP_POPULATE;
  void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, offset);
  if (address == MAP_FAILED) die("mmap");
  return address;
}

static void open_ring(void) {
  struct io_uring_params params = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
      .cq_entries = CQ_ENTRIES,
  };
  ring_fd = syscall(__NR_io_uring_setup, SQ_ENTRIES, &params);
  if (ring_fd < 0) die("io_uring_setup");
  size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
  size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  char *rings = map(sq_size > cq_size ? sq_size : cq_size, ring_fd, IORING_OFF_SQ_RING);
  sqes = map(params.sq_entries * sizeof(struct io_uring_sqe), ring_fd, IORING_OFF_SQES);
  sq_head = (unsigned *)(rings + params.sq_off.head);
  sq_tail = (unsigned *)(rings + params.sq_off.tail);
  sq_mask = params.sq_entries - 1;
  cq_head = (unsigned *)(rings + params.cq_off.head);
  cq_tail = (unsigned *)(rings + params.cq_off.tail);
  cq_mask = params.cq_entries - 1;
  cqes = (struct io_uring_cqe *)(rings + params.cq_off.cqes);
  /* Entry i of the indirection array is always submission entry i. */
  unsigned *array = (unsigned *)(rings + params.sq_off.array);
  for (unsigned index = 0; index < params.sq_entries; index++) array[index] = index;
}

static void open_port(unsigned index, const char *name, int vnet_header) {
  struct port *port = &ports[index];
  port->fd = tap_open(name, vnet_header);
  port->buffers = map((size_t)buffer_count * stride, -1, 0);
  port->ring = map(buffer_count * sizeof(struct io_uring_buf), -1, 0);
  struct io_uring_buf_reg registration = {
      .ring_addr = (uintptr_t)port->ring, .ring_entries = buffer_count, .bgid = index};
  if (syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_PBUF_RING, &registration, 1) < 0)
    die("IORING_REGISTER_PBUF_RING");
  for (unsigned buffer = 0; buffer < buffer_count; buffer++) lend(port, buffer);
  publish(port);
}

int main(int argc, char **argv) {
  int vnet_header = 0, busy = 0, argument = 1;
  for (; argument < argc && argv[argument][0] == '-'; argument++) {
    if (!strcmp(argv[argument], "--vnet")) vnet_header = 1;
    else if (!strcmp(argv[argument], "--busy")) busy = 1;
    else argument = argc;
  }
  if (argc - argument != 2) {
    fprintf(stderr, "usage: patch-uring [--vnet] [--busy] TAP_A TAP_B\n");
    return 2;
  }
  buffer_count = vnet_header ? BUFFERS_VNET : BUFFERS;
  buffer_size = vnet_header ? FRAME_SIZE_MAX : 2048;
  stride = vnet_header ? STRIDE_VNET : STRIDE;
  open_ring();
  open_port(0, argv[argument], vnet_header);
  open_port(1, argv[argument + 1], vnet_header);
  say_ready();
  for (;;) {
    /* Not armed with no buffer to read into would only fail again; the writes under way will bring some back. */
    for (unsigned index = 0; index < 2; index++)
      if (!ports[index].armed && ports[index].lent > 0) arm(index);
    submit(busy ? 0 : 1);
    unsigned head = *cq_head, tail = __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE);
    while (head != tail) complete(&cqes[head++ & cq_mask]);
    __atomic_store_n(cq_head, head, __ATOMIC_RELEASE);
    publish(&ports[0]);
    publish(&ports[1]);
  }
}
