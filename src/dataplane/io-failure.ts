/** What a failed send or reception means, for both engines. */
import { dropReasonNumber } from './drop-reason.js';
import { EAGAIN, ENETDOWN, ENOBUFS } from './native.js';

const ENXIO = 6;
const EBADF = 9;
const ENODEV = 19;
const EBADFD = 77;
const EMSGSIZE = 90;

/** Whether the device is gone or down, so that the port must be looked after by the main thread. */
export function isDeviceGone(errno: number): boolean {
  return errno === EBADF || errno === ENXIO || errno === ENODEV || errno === EBADFD || errno === ENETDOWN;
}

/** The drop reason's number of a copy whose send failed. */
export function sendFailureReason(errno: number): number {
  if (errno === EMSGSIZE) return dropReasonNumber.mtu_exceeded;
  if (errno === EAGAIN || errno === ENOBUFS) return dropReasonNumber.tx_full;
  return dropReasonNumber.port_down;
}
