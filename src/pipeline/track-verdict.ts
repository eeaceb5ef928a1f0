/** What tracking says of a packet of a known connection. */

/** It belongs to the connection. */
export const TRACK_PASS = 0;
/** It contradicts the connection, which goes on as if it had not come. */
export const TRACK_INVALID = 1;
/** It begins a new connection in the place of this one, which is over. */
export const TRACK_REUSE = 2;
