/** What a failed send or reception means, for both engines. */
import { dropReasonNumber } from './drop-reason.js';
import { EAGAIN, EINVAL, ENETDOWN, ENOBUFS } from './native.js';

const ENXIO = 6;
const EBADF = 9;
const ENOMEM = 12;
const ENODEV = 19;
const EBADFD = 77;
const EMSGSIZE = 90;

/** Whether the device is gone or down, so that the port must be looked after by the main thread. */
export function isDeviceGone(errno: number): boolean {
  return errno === EBADF || errno === ENXIO || errno === ENODEV || errno === EBADFD || errno === ENETDOWN;
}

/**
 * The drop reason's number of the frame that a failed reception lost; 0: it lost none. The kernel takes a frame out of the
 * device's queue before it makes the vnet header, and refuses what a guest may ask for but a header can't say (GSO of
 * type UDP): then the frame is gone.
 */
export function receiveFailureReason(errno: number): number {
  return errno === EINVAL ? dropReasonNumber.bad_vnet_header : 0;
}

/** The drop reason's number of a copy whose send failed. */
export function sendFailureReason(errno: number): number {
  if (errno === EMSGSIZE) return dropReasonNumber.mtu_exceeded;
  if (errno === EAGAIN || errno === ENOBUFS) return dropReasonNumber.tx_full;
  return dropReasonNumber.port_down;
}

/**
 * The drop reason's number of datagrams whose send failed. None of these is the port's failure: there may be no route to
 * this one remote. EINVAL is what Linux before 6.14 says of segments that don't fit the path's MTU; of a single datagram
 * it means that the local address is gone.
 */
export function datagramFailureReason(errno: number, isSegmented: boolean): number {
  if (errno === EMSGSIZE || (errno === EINVAL && isSegmented)) return dropReasonNumber.mtu_exceeded;
  if (errno === EAGAIN || errno === ENOBUFS || errno === ENOMEM) return dropReasonNumber.tx_full;
  return dropReasonNumber.tunnel_down;
}
