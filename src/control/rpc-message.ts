/**
 * One message of the control socket: from octets to a checked request, or to the JSON-RPC 2.0 error it deserves.
 * No state, no I/O.
 *
 * What a hostile client can do here: nothing but spend the time its at most 64 KiB cost. Nesting is counted before
 * JSON.parse (whose recursion would follow it), octets that are not UTF-8 are refused, `__proto__` is removed from
 * every object (JSON.parse makes it an own key, but a later assignment or spread would make it a prototype), and an id
 * that could not be echoed exactly is refused.
 */
import { CONTROL_DEPTH_MAX } from '../limits.js';

export const PARSE_ERROR = -32700;
export const INVALID_REQUEST = -32600;
export const METHOD_NOT_FOUND = -32601;
export const INVALID_PARAMS = -32602;
export const INTERNAL_ERROR = -32603;
/** The switch understood and refused; `data` says why. */
export const REFUSED = -32000;

export type RpcId = string | number | null;

export interface RpcRequest {
  /** Absent on a notification, which gets no answer. */
  readonly id?: RpcId;
  readonly method: string;
  readonly params: object;
}

export interface RpcFailure {
  readonly id: RpcId;
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

export type ParsedMessage =
  | { readonly type: 'request'; readonly request: RpcRequest }
  | { readonly type: 'failure'; readonly failure: RpcFailure };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Deepest nesting of objects and arrays in `octets`, which need not be valid JSON; stops counting above `limit`. */
export function nestingDepth(octets: Uint8Array, limit: number): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < octets.length; index++) {
    const octet = octets[index];
    if (inString) {
      if (octet === BACKSLASH) index++;
      else if (octet === QUOTE) inString = false;
    } else if (octet === QUOTE) inString = true;
    else if (octet === 0x7b || octet === 0x5b) {
      if (++depth > deepest) deepest = depth;
      if (deepest > limit) return deepest;
    } else if (octet === 0x7d || octet === 0x5d) depth--;
  }
  return deepest;
}

/** Parses one line, without its newline. `octets` are at most CONTROL_MESSAGE_SIZE_MAX. */
export function parseMessage(octets: Uint8Array): ParsedMessage {
  if (nestingDepth(octets, CONTROL_DEPTH_MAX) > CONTROL_DEPTH_MAX) {
    return failure(null, INVALID_REQUEST, `the message nests deeper than ${CONTROL_DEPTH_MAX} levels`);
  }
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(octets));
  } catch {
    return failure(null, PARSE_ERROR, 'the message is not one line of JSON in UTF-8');
  }
  removePrototypeKeys(value);
  return checkRequest(value);
}

function failure(id: RpcId, code: number, message: string): ParsedMessage {
  return { type: 'failure', failure: { id, code, message } };
}

/** Depth is bounded by the check above, the number of keys by the message's size. */
function removePrototypeKeys(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  Reflect.deleteProperty(value, '__proto__');
  for (const child of Object.values(value)) removePrototypeKeys(child);
}

function isId(value: unknown): value is RpcId {
  if (typeof value === 'number') {
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  }
  return value === null || typeof value === 'string';
}

/**
 * Batches (JSON-RPC 2.0, section 6) are refused: one message could ask for unbounded work and an unbounded answer, and
 * requests may be sent without waiting for answers anyway.
 */
function checkRequest(value: unknown): ParsedMessage {
  if (Array.isArray(value)) {
    return failure(null, INVALID_REQUEST, 'batches are not supported: send one request a line, without waiting');
  }
  if (typeof value !== 'object' || value === null) return failure(null, INVALID_REQUEST, 'a request is an object');
  const fields = value as { jsonrpc?: unknown; id?: unknown; method?: unknown; params?: unknown };
  const hasId = Object.hasOwn(fields, 'id');
  if (hasId && !isId(fields.id)) {
    return failure(null, INVALID_REQUEST, 'id: expected a string, null or a number that JSON keeps exactly');
  }
  const id = hasId ? (fields.id as RpcId) : null;
  if (fields.jsonrpc !== '2.0') return failure(id, INVALID_REQUEST, 'jsonrpc: expected "2.0"');
  if (typeof fields.method !== 'string') return failure(id, INVALID_REQUEST, 'method: expected a string');
  const params = fields.params === undefined ? {} : fields.params;
  if (typeof params !== 'object' || params === null || Array.isArray(params)) {
    return failure(id, INVALID_PARAMS, 'params: expected an object with the names of the options');
  }
  const request = { method: fields.method, params };
  return { type: 'request', request: hasId ? { ...request, id } : request };
}
