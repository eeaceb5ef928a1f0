/**
 * The native boundary: libc through koffi, in this one file. Everything the switch asks of the kernel that Node does not
 * offer goes through here. Calls are synchronous and return libc's own result; a negative one is turned into an errno
 * name by `errnoName`, or into an OperatingError by `check`. Any thread may call any of these.
 *
 * Addresses are plain numbers (user space ends at 2^47). Memory that the kernel keeps using after a call returns must not
 * move: WebAssembly memories, SharedArrayBuffers and mappings don't; a small typed array does, so those are only lent for
 * the length of a call.
 *
 * koffi 3.3, Node 20: a call costs about 50 ns on top of the system call.
 */
import koffi from 'koffi';
import { OperatingError } from '../errors.js';

const libc = koffi.load('libc.so.6');

// libc's syscall() is declared without "...": on the System V ABIs of x86-64 and arm64 six integers are passed alike.
const syscall6 = libc.func('long syscall(long nr, long a, long b, long c, long d, long e, long f)');
const yieldTo = libc.func('int sched_yield()');
const scheduleBy = libc.func('long syscall(long nr, long pid, void *attributes, long flags)');
const priorityOf = libc.func('int getpriority(int which, uint id)');
const setPriority = libc.func('int setpriority(int which, uint id, int nice)');
const openPath = libc.func('int open(const char *path, int flags, int mode)');
const closeFd = libc.func('int close(int fd)');
const readInto = libc.func('long read(int fd, long address, size_t size)');
const writeFrom = libc.func('long write(int fd, long address, size_t size)');
const ioctlWith = libc.func('int ioctl(int fd, ulong request, void *argument)');
const ioctlValue = libc.func('int ioctl(int fd, ulong request, long argument)');
const pollFds = libc.func('int poll(void *fds, ulong count, int timeoutMs)');
const eventFd = libc.func('int eventfd(uint initial, int flags)');
const socketOf = libc.func('int socket(int family, int type, int protocol)');
const bindTo = libc.func('int bind(int fd, void *address, uint size)');
const connectTo = libc.func('int connect(int fd, void *address, uint size)');
const nameOfSocket = libc.func('int getsockname(int fd, void *address, void *size)');
const receiveFrom = libc.func(
  'long recvfrom(int fd, void *bytes, size_t size, int flags, void *address, void *addressSize)',
);
const listenOn = libc.func('int listen(int fd, int backlog)');
const acceptFrom = libc.func('int accept4(int fd, void *address, void *size, int flags)');
const setOption = libc.func('int setsockopt(int fd, int level, int name, void *value, uint size)');
const getOption = libc.func('int getsockopt(int fd, int level, int name, void *value, void *size)');
const sendMessage = libc.func('long sendmsg(int fd, long message, int flags)');
const receiveMessage = libc.func('long recvmsg(int fd, long message, int flags)');
const sendBytes = libc.func('long send(int fd, void *bytes, size_t size, int flags)');
const sendFrom = libc.func('long send(int fd, long address, size_t size, int flags)');
const receiveBytes = libc.func('long recv(int fd, void *bytes, size_t size, int flags)');
const mapMemory = libc.func('long mmap(long address, size_t size, int protection, int flags, int fd, long offset)');
const unmapMemory = libc.func('int munmap(long address, size_t size)');
const truncateFd = libc.func('int ftruncate(int fd, long size)');
const allocateFd = libc.func('int posix_fallocate(int fd, long offset, long size)');
const fcntlInt = libc.func('int fcntl(int fd, int command, long argument)');
const enterNamespace = libc.func('int setns(int fd, int type)');

const IO_URING_SETUP = 425;
const IO_URING_ENTER = 426;
const IO_URING_REGISTER = 427;

export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const POLLIN = 1;
export const POLLERR = 8;
export const POLLHUP = 16;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EBUSY = 16;
export const ENODEV = 19;
export const EINVAL = 22;
export const EBADFD = 77;
export const ENOBUFS = 105;
export const ECANCELED = 125;
export const ENETDOWN = 100;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const EHOSTUNREACH = 113;

const errnoNames: ReadonlyMap<number, string> = new Map(
  Object.entries(koffi.os.errno).map(([name, number]) => [number as number, name]),
);

/** errno of this thread's last failed call. */
export function errno(): number {
  return koffi.errno();
}

/** `ENETDOWN` for 100; `errno 9999` for what libc does not know. */
export function errnoName(number: number): string {
  return errnoNames.get(Math.abs(number)) ?? `errno ${number}`;
}

/** 100 for `ENETDOWN`; EIO for a name that libc does not know, or none. */
export function errnoOf(name: string | undefined): number {
  for (const [number, known] of errnoNames) if (known === name) return number;
  return EIO;
}

/** Returns `result`, or throws an OperatingError that names the operation and errno when it is negative. */
export function check(operation: string, result: number, fix?: string): number {
  if (result >= 0) return result;
  throw failure(operation, errno(), fix);
}

/** The error of a failed system call; privilege errors say so. */
export function failure(operation: string, number: number, fix?: string): OperatingError {
  const name = errnoName(number);
  const isPrivilege = name === 'EPERM' || name === 'EACCES';
  const remedy = fix ?? (isPrivilege ? 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW' : undefined);
  return new OperatingError(`${operation}: ${name}`, {
    code: isPrivilege ? 'no-privilege' : 'operating',
    errno: name,
    ...(remedy === undefined ? {} : { fix: remedy }),
  });
}

export function open(path: string, flags: number, mode = 0): number {
  return openPath(path, flags, mode);
}
export function close(fd: number): number {
  return closeFd(fd);
}
/** Reads at most `size` octets to an absolute address. Returns octets or -1. */
export function read(fd: number, address: number, size: number): number {
  return readInto(fd, address, size);
}
export function write(fd: number, address: number, size: number): number {
  return writeFrom(fd, address, size);
}
export function ioctl(fd: number, request: number, argument: Uint8Array | Int32Array | null): number {
  return ioctlWith(fd, request, argument);
}
/** For requests whose argument is a number, not a pointer to one. */
export function ioctlInt(fd: number, request: number, value: number): number {
  return ioctlValue(fd, request, value);
}
/** `fds` is an array of struct pollfd: int32 fd, int16 events, int16 revents. */
export function poll(fds: Int32Array | Uint8Array, count: number, timeoutMs: number): number {
  return pollFds(fds, count, timeoutMs);
}
export function eventfd(): number {
  return eventFd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}
const F_DUPFD_CLOEXEC = 1030;
/** Another descriptor of the same open file. */
export function duplicate(fd: number): number {
  return fcntlInt(fd, F_DUPFD_CLOEXEC, 0);
}
const eventIncrement = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
/** Lets another thread that is ready to run have the CPU; returns at once (some 150 ns) when there is none. */
export function yieldCpu(): void {
  yieldTo();
}

const SCHED_SETATTR: Readonly<Record<string, number>> = { x64: 314, arm64: 274 };
const PRIO_PROCESS = 0;
/** Sets what struct sched_attr says for the calling thread. Returns 0 or -1. */
export function setScheduling(attributes: Uint8Array): number {
  const number = SCHED_SETATTR[process.arch];
  return number === undefined ? -1 : scheduleBy(number, 0, attributes, 0);
}
/** Of one thread, as Linux has it; 0: the calling one. */
export function niceOf(thread: number): number {
  return priorityOf(PRIO_PROCESS, thread);
}
/** More than there is takes no privilege. Returns 0 or -1. */
export function setNice(thread: number, nice: number): number {
  return setPriority(PRIO_PROCESS, thread, nice);
}

const writeBytes = libc.func('long write(int fd, void *bytes, size_t size)');
/** Wakes whoever waits for the eventfd. */
export function signalEvent(fd: number): void {
  writeBytes(fd, eventIncrement, 8);
}
const readBytes = libc.func('long read(int fd, void *bytes, size_t size)');
const eventCount = new Uint8Array(8);
/** Takes back all signals of the eventfd, so that it is readable only after the next one. */
export function drainEvent(fd: number): void {
  readBytes(fd, eventCount, 8);
}
export function socket(family: number, type: number, protocol: number): number {
  return socketOf(family, type, protocol);
}
export function bind(fd: number, address: Uint8Array): number {
  return bindTo(fd, address, address.byteLength);
}
export function connect(fd: number, address: Uint8Array): number {
  return connectTo(fd, address, address.byteLength);
}
/** Fills `address`; returns 0 or -1. */
export function getsockname(fd: number, address: Uint8Array): number {
  return nameOfSocket(fd, address, new Uint32Array([address.byteLength]));
}
export function listen(fd: number, backlog: number): number {
  return listenOn(fd, backlog);
}
export function accept(fd: number, flags: number): number {
  return acceptFrom(fd, null, null, flags);
}
export function setsockopt(fd: number, level: number, name: number, value: Uint8Array | Int32Array): number {
  return setOption(fd, level, name, value, value.byteLength);
}
/** Fills `value`; returns the octets written to it, or -1. */
export function getsockopt(fd: number, level: number, name: number, value: Uint8Array | Int32Array): number {
  const size = new Uint32Array([value.byteLength]);
  return getOption(fd, level, name, value, size) < 0 ? -1 : size[0]!;
}
/** `message` is the address of a struct msghdr in memory that does not move. */
export function sendmsg(fd: number, message: number, flags: number): number {
  return sendMessage(fd, message, flags);
}
export function recvmsg(fd: number, message: number, flags: number): number {
  return receiveMessage(fd, message, flags);
}
export function send(fd: number, bytes: Uint8Array, flags = 0): number {
  return sendBytes(fd, bytes, bytes.byteLength, flags);
}
/** As send, from an absolute address. */
export function sendAt(fd: number, address: number, size: number, flags: number): number {
  return sendFrom(fd, address, size, flags);
}
export function recv(fd: number, bytes: Uint8Array, flags = 0): number {
  return receiveBytes(fd, bytes, bytes.byteLength, flags);
}
/** As recv, and fills `address` with the sender's. */
export function recvfrom(fd: number, bytes: Uint8Array, address: Uint8Array, flags = 0): number {
  return receiveFrom(fd, bytes, bytes.byteLength, flags, address, new Uint32Array([address.byteLength]));
}
/** As recv, on libuv's thread pool: resolves with octets, or a negative errno. For the main thread's slow sockets. */
export function pollAsync(fds: Int32Array, count: number, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    pollFds.async(fds, count, timeoutMs, (error: unknown, result: number) => (error ? reject(error) : resolve(result)));
  });
}
const epollCreate = libc.func('int epoll_create1(int flags)');
const epollControl = libc.func('int epoll_ctl(int epoll, int operation, int fd, void *event)');
const epollEvent = new Uint32Array(4);
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
/** An epoll set: one descriptor that is readable while something in the set is ready. */
export function epoll(): number {
  return epollCreate(O_CLOEXEC);
}
/** Adds `fd` to the set (`change` false), or changes what it is looked at for. */
export function epollWatch(set: number, fd: number, events: number, change: boolean): number {
  epollEvent[0] = events;
  return epollControl(set, change ? 3 : 1, fd, epollEvent);
}
const socketPairOf = libc.func('int socketpair(int family, int type, int protocol, void *fds)');
/** Two connected Unix stream sockets, the first one non-blocking; both close on exec. Throws an OperatingError. */
export function streamPair(): [number, number] {
  const fds = new Int32Array(2);
  check('opening a socket pair', socketPairOf(1, 1 | O_CLOEXEC, 0, fds));
  check('making a socket non-blocking', fcntlInt(fds[0], 4, O_NONBLOCK));
  return [fds[0], fds[1]];
}
const lockWhole = libc.func('int flock(int fd, int operation)');
const LOCK_EXCLUSIVE_NOW = 2 | 4;
/** Locks the file for this open file description, until its last descriptor is closed. -1 and EAGAIN: another one has it. */
export function lockFile(fd: number): number {
  return lockWhole(fd, LOCK_EXCLUSIVE_NOW);
}
export function ftruncate(fd: number, size: number): number {
  return truncateFd(fd, size);
}
/** Reserves the file's space on disk or tmpfs. Returns 0 or an errno (not through errno()). */
export function fallocate(fd: number, offset: number, size: number): number {
  return allocateFd(fd, offset, size);
}
export function fcntl(fd: number, command: number, argument: number): number {
  return fcntlInt(fd, command, argument);
}
/** Moves the calling thread into a namespace. Only ever on a thread that ends or moves back before it does anything else. */
export function setns(fd: number, type: number): number {
  return enterNamespace(fd, type);
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_SHARED_ANONYMOUS = 0x21;
const MAP_POPULATE = 0x8000;

/** A mapping as JavaScript sees it. The buffer must not be used after `unmap`. */
export interface Mapping {
  readonly address: number;
  readonly size: number;
  readonly buffer: ArrayBuffer;
}

/** Maps `fd` shared (or anonymous memory when fd is -1), readable and writable. Throws an OperatingError. */
export function map(fd: number, size: number, offset = 0, populate = false): Mapping {
  const flags = (fd < 0 ? MAP_SHARED_ANONYMOUS : MAP_SHARED) | (populate ? MAP_POPULATE : 0);
  const address = mapMemory(0, size, PROT_READ_WRITE, flags, fd, offset);
  if (address === -1) throw failure('mmap', errno());
  return { address, size, buffer: viewAt(address, size) };
}

/** The memory at an address as an ArrayBuffer; also for a mapping made by another thread of this process. */
export function viewAt(address: number, size: number): ArrayBuffer {
  return koffi.view(BigInt(address), size) as ArrayBuffer;
}

export function unmap(address: number, size: number): void {
  unmapMemory(address, size);
}

/** Where a WebAssembly memory or SharedArrayBuffer lies. Never of a small ArrayBuffer: the garbage collector moves those. */
export function addressOf(buffer: ArrayBufferLike): number {
  return Number(koffi.address(buffer as ArrayBuffer));
}

export function ioUringSetup(entries: number, parameters: Uint8Array): number {
  const address = addressOf(parameters.buffer) + parameters.byteOffset;
  return syscall6(IO_URING_SETUP, entries, address, 0, 0, 0, 0);
}
export function ioUringEnter(
  fd: number,
  submit: number,
  wait: number,
  flags: number,
  argument: number,
  size: number,
): number {
  return syscall6(IO_URING_ENTER, fd, submit, wait, flags, argument, size);
}
export function ioUringRegister(fd: number, operation: number, argument: number, count: number): number {
  return syscall6(IO_URING_REGISTER, fd, operation, argument, count, 0, 0);
}
