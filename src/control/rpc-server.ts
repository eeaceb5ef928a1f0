/**
 * The control socket's server: newline-delimited JSON-RPC 2.0 on a Unix stream socket. Owns the clients and the bounds
 * over all of them; one client's own bounds are in rpc-connection.ts, the path's safety in socket-path.ts. Main thread.
 *
 * Only processes that may connect (mode 0600: the daemon's user and root) can talk to it at all; still none of them can
 * take it from the others: clients, waiting octets and documents in pieces are bounded, the longest idle client gives
 * way to a new one, and one that takes nothing of what waits for it is closed.
 */
import { createServer, type Server } from 'node:net';
import { z } from 'zod';
import { UserError } from '../errors.js';
import {
  CONTROL_CLIENTS_MAX,
  CONTROL_OUT_TOTAL_MAX,
  CONTROL_STALL_MS,
  CONTROL_STREAMS_PER_CLIENT_MAX,
} from '../limits.js';
import { type RpcMethod, type RpcSession, rpcMethod } from './command.js';
import { DocumentUploads } from './document-upload.js';
import { faultsOf, faultText, parameterFaults } from './faults.js';
import { type Answer, Connection } from './rpc-connection.js';
import {
  INTERNAL_ERROR,
  INVALID_PARAMS,
  METHOD_NOT_FOUND,
  REFUSED,
  type RpcFailure,
  type RpcRequest,
} from './rpc-message.js';
import type { FaultShape } from './shapes.js';
import { type ClaimedPath, claimSocketPath } from './socket-path.js';
import { didYouMean } from './suggest.js';
import type { SwitchControl } from './switch-control.js';

const STALL_CHECK_MS = 1000;
const CLOSE_WITHIN_MS = 2000;

/** The part of a log that is used here. */
export interface DefectLog {
  error(detail: object, message: string): void;
}

export interface RpcServerOptions {
  readonly path: string;
  readonly control: SwitchControl;
  readonly methods: readonly RpcMethod[];
  readonly version: string;
  /** Told of defects: errors that are neither the user's nor the system's. */
  readonly log?: DefectLog;
  /** For tests: how long a client may take nothing. */
  readonly stallMs?: number;
}

type Failure = Omit<RpcFailure, 'id'>;

export class RpcServer {
  private readonly options: RpcServerOptions;
  private readonly methods = new Map<string, RpcMethod>();
  private readonly connections = new Set<Connection>();
  private readonly uploads = new DocumentUploads();
  private readonly server: Server;
  private claimed: ClaimedPath | undefined;
  private stallTimer: NodeJS.Timeout | undefined;

  private constructor(options: RpcServerOptions) {
    this.options = options;
    for (const method of [...options.methods, discoverMethod(this.methods, options.version), ...uploadMethods()]) {
      this.methods.set(method.name, method);
    }
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.makeRoom();
      const connection = new Connection(socket, this);
      this.connections.add(connection);
      if (this.connections.size > CONTROL_CLIENTS_MAX)
        connection.refuse('every client of the control socket is streaming');
    });
  }

  /** Listens. Throws a UserError when the path is taken, unsafe or not allowed. */
  static async listen(options: RpcServerOptions): Promise<RpcServer> {
    const server = new RpcServer(options);
    try {
      server.claimed = await claimSocketPath(server.server, options.path);
    } catch (error) {
      server.server.close();
      throw error;
    }
    server.server.on('error', (err) => options.log?.error({ err }, 'the control socket could not accept a client'));
    server.stallTimer = setInterval(() => server.closeStalled(), STALL_CHECK_MS).unref();
    return server;
  }

  get clientCount(): number {
    return this.connections.size;
  }

  /** Accepts no more, lets what is being served finish (two seconds at most), ends streams, removes the socket. */
  async close(): Promise<void> {
    clearInterval(this.stallTimer);
    this.claimed?.release();
    this.server.close();
    await Promise.all([...this.connections].map((connection) => connection.finish(CLOSE_WITHIN_MS)));
  }

  /** Serves one request of a connection. */
  async serve(request: RpcRequest, connection: Connection): Promise<Answer> {
    const method = this.methods.get(request.method);
    if (method === undefined) {
      const hint = didYouMean(request.method, this.methods.keys());
      return {
        failure: { code: METHOD_NOT_FOUND, message: `there is no method ${request.method.slice(0, 64)}${hint}` },
      };
    }
    const checked = method.params.safeParse(request.params);
    if (!checked.success) {
      const faults = parameterFaults(checked.error, Object.keys(method.params.shape));
      return { failure: { code: INVALID_PARAMS, ...failureOf(faults) } };
    }
    try {
      const session = this.session(request, connection);
      const result = await method.serve(this.options.control, checked.data, session);
      return { resultJson: JSON.stringify(result ?? null) };
    } catch (error) {
      return { failure: this.failureOfError(request.method, error) };
    }
  }

  sent(connection: Connection): void {
    if (connection.outbox.size < CONTROL_OUT_TOTAL_MAX / CONTROL_CLIENTS_MAX) return;
    let total = 0;
    let largest = connection;
    for (const other of this.connections) {
      total += other.outbox.size;
      if (other.outbox.size > largest.outbox.size) largest = other;
    }
    if (total > CONTROL_OUT_TOTAL_MAX) largest.close();
  }

  closed(connection: Connection): void {
    this.connections.delete(connection);
    this.uploads.drop(connection);
  }

  private failureOfError(method: string, error: unknown): Failure {
    const faults = faultsOf(error);
    if (faults !== undefined) return { code: REFUSED, ...failureOf(faults) };
    this.options.log?.error({ err: error, method }, 'a control method failed in a way it should not');
    const message = 'the switch has a defect and could not answer; its log says more';
    return { code: INTERNAL_ERROR, message, data: { code: 'internal' } };
  }

  private session(request: RpcRequest, connection: Connection): RpcSession & UploadSession {
    return {
      uploads: this.uploads,
      owner: connection,
      takeDocument: (token) => this.uploads.take(connection, token),
      stream: (start) => {
        if (connection.streamCount >= CONTROL_STREAMS_PER_CLIENT_MAX) {
          throw new UserError([
            { code: 'limit', message: `a client has at most ${CONTROL_STREAMS_PER_CLIENT_MAX} streams` },
          ]);
        }
        connection.stream(request.method, request.id, start);
      },
    };
  }

  /** Closes the client longest idle without a stream if there is no place for one more; a working one only if all work. */
  private makeRoom(): void {
    if (this.connections.size < CONTROL_CLIENTS_MAX) return;
    let victim: Connection | undefined;
    for (const connection of this.connections) {
      if (connection.streamCount > 0) continue;
      if (victim === undefined || isIdler(connection, victim)) victim = connection;
    }
    victim?.close();
  }

  private closeStalled(): void {
    const before = performance.now() - (this.options.stallMs ?? CONTROL_STALL_MS);
    for (const connection of this.connections) {
      if (connection.outbox.size > 0 && connection.outbox.lastProgressMs < before) connection.close();
    }
  }
}

function isIdler(left: Connection, right: Connection): boolean {
  if (left.busy !== right.busy) return !left.busy;
  return left.lastRequestMs < right.lastRequestMs;
}

/** Message and data of an error that carries faults: the first one's fields, and all of them if there are several. */
function failureOf(faults: readonly FaultShape[]): { message: string; data: object } {
  const [first] = faults;
  if (faults.length === 1 && first !== undefined) return { message: first.message, data: first };
  return { message: faults.map(faultText).join('\n'), data: { ...first, errors: faults } };
}

/** What the upload methods see of their session. */
interface UploadSession {
  readonly uploads: DocumentUploads;
  readonly owner: object;
}

function uploadsOf(session: RpcSession): UploadSession {
  return session as RpcSession & UploadSession;
}

function uploadMethods(): RpcMethod[] {
  return [
    rpcMethod({
      name: 'document.begin',
      summary: 'Begins to send a document that is longer than one message; answers { document }.',
      params: z.strictObject({}),
      serve: async (_control, _params, session) => {
        const { uploads, owner } = uploadsOf(session);
        return { document: uploads.begin(owner) };
      },
    }),
    rpcMethod({
      name: 'document.append',
      summary: 'Adds the next piece of text; answers { size } in octets.',
      params: z.strictObject({ document: z.string(), text: z.string() }),
      serve: async (_control, params, session) => {
        const { uploads, owner } = uploadsOf(session);
        return { size: uploads.append(owner, params.document, params.text) };
      },
    }),
  ];
}

function discoverMethod(methods: ReadonlyMap<string, RpcMethod>, version: string): RpcMethod {
  return rpcMethod({
    name: 'rpc.discover',
    summary: 'Lists every method with the JSON Schema of its parameters.',
    params: z.strictObject({}),
    serve: async () => ({
      version,
      methods: [...methods.values()]
        .map(({ name, summary, params }) => ({ name, summary, params: z.toJSONSchema(params, { io: 'input' }) }))
        .sort((left, right) => (left.name < right.name ? -1 : 1)),
    }),
  });
}
