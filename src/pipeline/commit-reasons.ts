/** Why a packet is dropped whose connection could not be made: by what ConnectionTable.commit said. */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { COMMIT_FULL, COMMIT_INVALID, COMMIT_PORT_LIMIT } from './connection-table.js';

/** Drop reason's number by result of a commit; 0 for COMMITTED. */
export const commitReasons: Int32Array = new Int32Array(4);
commitReasons[COMMIT_FULL] = dropReasonNumber.conntrack_full;
commitReasons[COMMIT_PORT_LIMIT] = dropReasonNumber.conntrack_port_limit;
commitReasons[COMMIT_INVALID] = dropReasonNumber.conntrack_invalid;
