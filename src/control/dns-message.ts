/**
 * DNS messages as the names service reads and writes them (RFC 1035, RFC 6891), by the package dns-packet. Pure; main thread.
 *
 * Read are questions only, which guests send and which lie: before the package sees a message its counts are those of a
 * question (one question, no answers, at most a few additional records), so that no count makes it work or allocate, its size
 * is bounded by the caller, and what the package throws is FORMERR. Of answers that resolvers give only the header and the
 * question are looked at, as octets (isAnswerTo).
 *
 * The question is echoed as the octets that were asked: who writes in capitals (0x20) finds what he wrote.
 */
import { type Answer, decode, encode, type OptAnswer } from 'dns-packet';
import { read16, write16 } from '../wire/octets.js';

export const DNS_HEADER_SIZE = 12;
/** RFC 1035 4.2.1: what everybody takes by UDP. */
export const DNS_SIZE_MIN = 512;
/** What is sent and asked for at most by UDP: it fits every path of IPv6's least MTU (DNS flag day 2020). */
export const DNS_UDP_SIZE_MAX = 1232;

/** Header fields: octets from the start. */
const FLAGS = 2;
const QUESTIONS = 4;
const ANSWERS = 6;
const AUTHORITIES = 8;
const ADDITIONALS = 10;
/** An OPT record, a signature, a cookie: more no question has. */
const ADDITIONALS_MAX = 4;

const FLAG_RESPONSE = 0x8000;
const OPCODE_MASK = 0x7800;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const FLAG_CHECKING_DISABLED = 0x0010;

export const DNS_NO_ERROR = 0;
export const DNS_FORMAT_ERROR = 1;
export const DNS_SERVER_FAILURE = 2;
export const DNS_NO_NAME = 3;
export const DNS_NOT_IMPLEMENTED = 4;
export const DNS_REFUSED = 5;
/** RFC 6891 6.1.3: its upper bits lie in the OPT record. */
export const DNS_BAD_VERSION = 16;

export const TYPE_A = 1;
export const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_AAAA = 28;
export const TYPE_ANY = 255;
/** Types that ask for a zone's transfer, or for what is no record: 251 to 254. */
export const TYPE_META_FIRST = 251;
export const TYPE_META_LAST = 254;
export const CLASS_IN = 1;

export interface DnsQuery {
  readonly id: number;
  /** RD and CD, which an answer repeats. */
  readonly flags: number;
  /** Lower case, without the dot at the end; empty: the root. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The question section. */
  readonly question: Uint8Array;
  /** What the asker takes by UDP, in octets. */
  readonly size: number;
  /** It has an OPT record, and so must the answer. */
  readonly isExtended: boolean;
  readonly isDnssecOk: boolean;
  /** RFC 6891: of the OPT record; we speak version 0. */
  readonly version: number;
}

/** What is to be answered where there is no question: the header, and why. */
export interface DnsFault {
  readonly id: number;
  readonly flags: number;
  readonly code: number;
}

/** Undefined: nothing is to be said, it is too short or no question. */
export function readQuery(message: Uint8Array): DnsQuery | DnsFault | undefined {
  if (message.length < DNS_HEADER_SIZE) return undefined;
  const id = read16(message, 0);
  const written = read16(message, FLAGS);
  if ((written & FLAG_RESPONSE) !== 0) return undefined;
  const flags = written & (FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED);
  if ((written & OPCODE_MASK) !== 0) return { id, flags: written & OPCODE_MASK, code: DNS_NOT_IMPLEMENTED };
  const fault = { id, flags, code: DNS_FORMAT_ERROR };
  const isQuestion =
    read16(message, QUESTIONS) === 1 &&
    read16(message, ANSWERS) === 0 &&
    read16(message, AUTHORITIES) === 0 &&
    read16(message, ADDITIONALS) <= ADDITIONALS_MAX;
  if (!isQuestion) return fault;
  const end = questionEnd(message);
  return end < 0 ? fault : (parse(message, end, { id, flags }) ?? fault);
}

function parse(message: Uint8Array, end: number, header: { id: number; flags: number }): DnsQuery | undefined {
  try {
    const { questions, additionals } = decode(Buffer.from(message.buffer, message.byteOffset, message.length));
    const options = (additionals ?? []).filter((record): record is OptAnswer => record.type === 'OPT');
    const [option] = options;
    const name = questions?.[0]?.name;
    // A record that ends behind the message is cut short by the package, which says where it was to end.
    if (name === undefined || options.length > 1 || decode.bytes > message.length) return undefined;
    return {
      ...header,
      name: name === '.' ? '' : name.toLowerCase(),
      type: read16(message, end - 4),
      class: read16(message, end - 2),
      question: message.slice(DNS_HEADER_SIZE, end),
      size: Math.max(option?.udpPayloadSize ?? DNS_SIZE_MIN, DNS_SIZE_MIN),
      isExtended: option !== undefined,
      isDnssecOk: option?.flag_do ?? false,
      version: option?.ednsVersion ?? 0,
    };
  } catch {
    return undefined;
  }
}

/** Position behind the question; -1: it is cut off, or its name has pointers, for which there is nothing in front of it. */
function questionEnd(message: Uint8Array): number {
  let at = DNS_HEADER_SIZE;
  while (at < message.length && message[at] !== 0) {
    if (message[at] > 63) return -1;
    at += message[at] + 1;
  }
  const end = at + 5;
  return end > message.length || at - DNS_HEADER_SIZE > 254 ? -1 : end;
}

export interface DnsReply {
  readonly code: number;
  readonly isAuthoritative?: boolean;
  /** Questions about other names are passed on. */
  readonly recurses: boolean;
  readonly answers?: readonly Answer[];
  readonly authorities?: readonly Answer[];
}

/** The message; where it is longer than `sizeMax` octets, without records and marked as truncated (RFC 2181 9). */
export function writeReply(query: DnsQuery, reply: DnsReply, sizeMax: number): Uint8Array {
  const { answers = [], authorities = [] } = reply;
  const records = encode({ answers: [...answers], authorities: [...authorities] }).subarray(DNS_HEADER_SIZE);
  const option = query.isExtended ? optionRecord(query, reply.code) : new Uint8Array(0);
  const questionEnds = DNS_HEADER_SIZE + query.question.length;
  const isTruncated = questionEnds + records.length + option.length > sizeMax;
  const recordsSize = isTruncated ? 0 : records.length;
  const message = new Uint8Array(questionEnds + recordsSize + option.length);
  write16(message, 0, query.id);
  write16(message, FLAGS, query.flags | replyFlags(reply, isTruncated));
  write16(message, QUESTIONS, 1);
  write16(message, ANSWERS, isTruncated ? 0 : answers.length);
  write16(message, AUTHORITIES, isTruncated ? 0 : authorities.length);
  write16(message, ADDITIONALS, query.isExtended ? 1 : 0);
  message.set(query.question, DNS_HEADER_SIZE);
  if (!isTruncated) message.set(records, questionEnds);
  message.set(option, questionEnds + recordsSize);
  return message;
}

function replyFlags({ code, isAuthoritative, recurses }: DnsReply, isTruncated: boolean): number {
  return (
    FLAG_RESPONSE |
    (isAuthoritative === true ? FLAG_AUTHORITATIVE : 0) |
    (isTruncated ? FLAG_TRUNCATED : 0) |
    (recurses ? FLAG_RECURSION_AVAILABLE : 0) |
    (code & 0xf)
  );
}

/** RFC 6891 6.1.2. DO is repeated, though nothing here is signed (RFC 3225 3). */
function optionRecord(query: DnsQuery, code: number): Uint8Array {
  const record = new Uint8Array(11);
  write16(record, 1, 41);
  write16(record, 3, DNS_UDP_SIZE_MAX);
  record[5] = code >>> 4;
  record[7] = query.isDnssecOk ? 0x80 : 0;
  return record;
}

/** A header alone. */
export function writeFault({ id, flags, code }: DnsFault): Uint8Array {
  const message = new Uint8Array(DNS_HEADER_SIZE);
  write16(message, 0, id);
  write16(message, FLAGS, FLAG_RESPONSE | flags | code);
  return message;
}

/** Whether the message answers this question, asked with this id (RFC 5452 9.1). */
export function isAnswerTo(message: Uint8Array, id: number, question: Uint8Array): boolean {
  if (message.length < DNS_HEADER_SIZE + question.length) return false;
  if (read16(message, 0) !== id || read16(message, QUESTIONS) !== 1) return false;
  if ((read16(message, FLAGS) & (FLAG_RESPONSE | OPCODE_MASK)) !== FLAG_RESPONSE) return false;
  return question.every((octet, index) => message[DNS_HEADER_SIZE + index] === octet);
}

/** The header and the question of a message that is an answer, marked as truncated. */
export function truncated(message: Uint8Array, question: Uint8Array): Uint8Array {
  const short = message.slice(0, DNS_HEADER_SIZE + question.length);
  write16(short, FLAGS, read16(short, FLAGS) | FLAG_TRUNCATED);
  for (const count of [ANSWERS, AUTHORITIES, ADDITIONALS]) write16(short, count, 0);
  return short;
}
