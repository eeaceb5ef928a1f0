/**
 * Datagrams and copies that follow each other share what was looked up for the one before. Whatever follows what, each must
 * get what it would have got alone: never its neighbour's network, tunnel, header or counters.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { TUNNEL_RX_FRAMES, TUNNEL_TX_BYTES, TUNNEL_TX_FRAMES } from '../../src/dataplane/counters.js';
import { vxlan } from '../../src/tunnels/vxlan.js';
import { arriving, host, overlayForms, overlaySwitch, targets, vxlanForm } from './overlay.js';
import { frame, type Received, type Sent, type TestSwitch, vm } from './test-switch.js';

const plain = overlayForms.filter(({ id, hasSequence, isIpv6 }) => id !== undefined && !hasSequence && !isIpv6);
const REMOTES = 3;

/** Networks red and blue in tunnels of one form, a port and REMOTES remotes in each; `other` in tunnels of another kind. */
function build(form: (typeof plain)[number]): TestSwitch {
  const remotes = Array.from({ length: REMOTES }, (_, index) => host(form, index + 1));
  const options = Object.keys(form.options).length > 0 ? { options: form.options } : {};
  const tunnels = { underlay: 'u0', remotes };
  const other = form.type === 'geneve' ? 'gre' : 'geneve';
  return overlaySwitch(form, {
    remotes: REMOTES,
    network: { learning: true },
    networks: {
      blue: { type: form.type, id: 77, ...tunnels, ...options },
      other: { type: other, id: 77, ...tunnels },
    },
    ports: { c: vm({ network: 'blue' }), d: vm({ network: 'other' }) },
    underlay: { allowFrom: [`${host(form, 9)}/32`] },
  });
}

const inside = { red: 'a', blue: 'c', other: 'd' } as const;
type Network = keyof typeof inside;
const networks: readonly Network[] = ['red', 'blue', 'other'];
/** A station of the network behind a remote. */
const station = (network: Network, remote: number) => `5254000${networks.indexOf(network)}02${remote}0`;
const local = (network: Network) => `5254000${networks.indexOf(network)}0001`;

/** Cut off in its header; with another datagram in one message, of another network where they are in tunnels of one kind. */
type Shape = 'whole' | 'short' | 'pair';

interface Arrival {
  readonly network: Network | 'none';
  /** 4 is nobody, 9 is in allowFrom. */
  readonly remote: number;
  readonly shape?: Shape;
}

/** What the underlay port receives: a frame of the remote's station to one that nobody knows. */
function datagram(form: (typeof plain)[number], { network, remote, shape = 'whole' }: Arrival): Received {
  const of = network === 'other' ? (form.type === 'geneve' ? plainOf('gre') : plainOf('geneve')) : form;
  const id = network === 'red' ? form.id : network === 'none' ? 5 : 77;
  const to = network === 'none' ? '525400990001' : local(network);
  const from = network === 'none' ? '525400990002' : station(network, remote);
  const received = arriving(of, remote, frame({ from, to }), { ...(id !== undefined && { id }) });
  const { octets } = received;
  if (shape === 'short') return { ...received, octets: octets.slice(0, 5) };
  if (shape === 'whole') return received;
  const second = network === 'red' ? datagram(form, { network: 'blue', remote }).octets : octets;
  return { ...received, octets: Uint8Array.of(...octets, ...second), datagramSize: octets.length };
}

function plainOf(type: string) {
  const found = plain.find((form) => form.type === type && Object.keys(form.options).length === 0);
  if (found === undefined) throw new Error(`no plain ${type}`);
  return found;
}

const arrivals = fc.array(
  fc.record({
    network: fc.constantFrom<Arrival['network']>('red', 'blue', 'other', 'none'),
    remote: fc.constantFrom(1, 2, 3, 4, 9),
    shape: fc.constantFrom<Shape>('whole', 'whole', 'whole', 'short', 'pair'),
  }),
  { minLength: 1, maxLength: 60, size: 'max' },
);

const seen = (sent: readonly Sent[]) =>
  sent.map(({ port, octets }) => `${port} ${Buffer.from(octets).toString('hex')}`);

function counted(tested: TestSwitch, form: (typeof plain)[number], field: number): number[] {
  return networks.flatMap((network) =>
    [1, 2, 3].map((number) => tested.tunnelValue(network, host(form, number), field)),
  );
}

test.each(plain)(
  'datagrams over $name end alike one by one and in any run, from any remotes in any networks',
  (form) => {
    fc.assert(
      fc.property(arrivals, (list) => {
        const [together, alone] = [build(form), build(form)];
        const datagrams = list.map((each) => datagram(form, each));
        // Headers are read ahead where the batch before was mixed.
        const others = [...datagrams].reverse();
        const sent = [datagrams, others, datagrams].flatMap((batch) => together.run(...batch));
        const expected = [...datagrams, ...others, ...datagrams].flatMap((each) => alone.run(each));
        expect(seen(sent).sort()).toEqual(seen(expected).sort());
        expect(together.drops()).toEqual(alone.drops());
        for (const field of [TUNNEL_RX_FRAMES])
          expect(counted(together, form, field)).toEqual(counted(alone, form, field));
        // Each is known behind the remote that it came from, and behind no other.
        for (const { network, remote, shape } of list) {
          if (network === 'none' || remote === 4 || shape === 'short') continue;
          const back = together.run({ port: inside[network], octets: frame({ to: station(network, remote) }) });
          expect(targets(back, form)).toEqual([`remote ${remote}`]);
        }
      }),
      { numRuns: 15 },
    );
  },
);

test('datagrams from elsewhere are not read, however many follow each other', () => {
  const tested = build(vxlanForm);
  const flood = Array.from({ length: 200 }, (_, index) =>
    datagram(vxlanForm, { network: networks[index % 2], remote: 4 }),
  );
  const read = vi.spyOn(vxlan, 'read');
  for (let batch = 0; batch < 3; batch++) tested.run(...flood);
  expect(read).not.toHaveBeenCalled();
  tested.run(datagram(vxlanForm, { network: 'red', remote: 1 }));
  expect(read).toHaveBeenCalledOnce();
  read.mockRestore();
  expect(tested.drops()).toEqual({ 'u0/vxlan tunnel_unknown_source': 600 });
});

test.each(plain)('frames into tunnels over $name leave alike one by one and in any run', (form) => {
  const sizes = fc.constantFrom(46, 47, 200);
  const flights = fc.array(fc.tuple(fc.constantFrom(...networks), fc.constantFrom(1, 2, 3), sizes), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(
    fc.property(flights, (list) => {
      const [together, alone] = [build(form), build(form)];
      for (const tested of [together, alone])
        for (const network of networks) for (const remote of [1, 2, 3]) tested.run(datagram(form, { network, remote }));
      const frames = list.map(([network, remote, size]) => ({
        port: inside[network],
        octets: frame({ from: local(network), to: station(network, remote), size }),
      }));
      const messages = (sent: readonly Sent[]) =>
        sent.map(({ port, message }) => [
          port,
          [...(message?.address ?? [])].join(),
          ...(message?.datagrams ?? []).map((octets) => Buffer.from(octets).toString('hex')),
        ]);
      expect(messages(together.run(...frames))).toEqual(frames.flatMap((each) => messages(alone.run(each))));
      for (const field of [TUNNEL_TX_FRAMES, TUNNEL_TX_BYTES]) {
        expect(counted(together, form, field)).toEqual(counted(alone, form, field));
        expect(counted(together, form, field).some((value) => value > 0)).toBe(true);
      }
    }),
    { numRuns: 15 },
  );
});

test('a tunnel that is taken away between two batches is nobody’s way any more', () => {
  const tested = build(vxlanForm);
  tested.run(datagram(vxlanForm, { network: 'red', remote: 1 }));
  const toIt = { port: 'a', octets: frame({ to: station('red', 1) }) };
  expect(targets(tested.run(toIt), vxlanForm)).toEqual(['remote 1']);
  tested.tunnels.remove([tested.tunnel('red', host(vxlanForm, 1))]);
  expect(tested.run(toIt)).toEqual([]);
  expect(tested.drops()).toEqual({ 'a tunnel_down': 1, 'u0/vxlan tunnel_down of copy': 1 });
});
