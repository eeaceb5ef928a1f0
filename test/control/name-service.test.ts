/** What machines are told of names: their own network's, nobody else's, and what is asked of resolvers. */
import { decode, encode } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { NameService } from '../../src/control/name-service.js';
import type { NamedLease, NamedLeases } from '../../src/control/network-names.js';
import type { JsonValue } from '../../src/control/shapes.js';

const document = (settings: JsonValue = {}, domain: JsonValue = { domain: 'Example.org' }): JsonValue => ({
  version: 1,
  settings,
  networks: { red: { type: 'local' }, blue: { type: 'local' } },
  ports: {
    vm1: { kind: 'memory', network: 'red', addresses: ['192.0.2.5/24', '2001:db8::5/64'] },
    'vm.two_x': { kind: 'memory', network: 'red' },
    secret: { kind: 'memory', network: 'blue', addresses: ['198.51.100.5/24'] },
    both: {
      kind: 'memory',
      trunk: [
        { network: 'red', vlan: 10 },
        { network: 'blue', vlan: 20 },
      ],
      addresses: ['192.0.2.6/24', '198.51.100.6/24'],
    },
  },
  subnets: {
    red4: { network: 'red', cidr: '192.0.2.0/24', dhcp: { pool: '192.0.2.100-192.0.2.200', ...(domain as object) } },
    red6: { network: 'red', cidr: '2001:db8::/64', ra: { mode: 'slaac' } },
    blue4: { network: 'blue', cidr: '198.51.100.0/25', dhcp: { ...(domain as object) } },
  },
});

class Leases implements NamedLeases {
  revision = 0;
  leases: (NamedLease & { expiresMs: number })[] = [];
  /** How often all were read. */
  reads = 0;
  given() {
    this.reads++;
    return this.leases;
  }
  expiryMs(subnet: string, address: bigint) {
    return this.leases.find((lease) => lease.subnet === subnet && lease.address === address)?.expiresMs ?? 0;
  }
}

interface Asked {
  readonly name: string;
  readonly transport: string;
}

function serving(text: JsonValue = document()) {
  const asked: Asked[] = [];
  const given: { answer: Uint8Array | undefined } = { answer: undefined };
  const forwarder = {
    outstanding: 0,
    follow: () => {},
    async ask(message: Uint8Array, _question: Uint8Array, transport: string) {
      asked.push({ name: decode(Buffer.from(message)).questions?.[0]?.name ?? '', transport });
      return given.answer;
    },
  };
  const leases = new Leases();
  let now = 1000;
  const service = new NameService({ clock: () => now, leases, forwarder });
  service.follow(checkDocument(documentOf(text)).resolved);
  const ask = async (name: string, type = 'A', network = 'red', extra: object = {}) => {
    const message = encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: type as 'A', name }], ...extra });
    const asker = { port: 'vm1', network, transport: 'udp' as const, sizeMax: 1472 };
    const answer = await service.answer(Uint8Array.from(message), asker);
    if (answer === undefined) throw new Error('no answer');
    return { ...decode(Buffer.from(answer)), size: answer.length };
  };
  const told = async (name: string, type?: string, network?: string) =>
    ((await ask(name, type, network)).answers ?? []).map((answer) => ('data' in answer ? answer.data : ''));
  const pass = (ms: number) => {
    now += ms;
  };
  return { service, leases, asked, given, ask, told, pass };
}

describe('a name of the network', () => {
  test('has the fixed addresses of its port, each family by itself', async () => {
    const { ask, told } = serving();
    expect(await told('vm1.example.org')).toEqual(['192.0.2.5']);
    expect(await told('VM1.EXAMPLE.ORG', 'AAAA')).toEqual(['2001:db8::5']);
    expect(await told('both.example.org')).toEqual(['192.0.2.6']);
    expect(await told('both.example.org', 'A', 'blue')).toEqual(['198.51.100.6']);
    expect(await ask('vm1.example.org')).toMatchObject({
      rcode: 'NOERROR',
      flag_aa: true,
      flag_ra: false,
      authorities: [],
    });
  });

  test('has the leases in force of its port, as long as they are', async () => {
    const { leases, ask, told, pass } = serving();
    expect(await ask('vm.two_x.example.org')).toMatchObject({ rcode: 'NXDOMAIN' });
    leases.leases = [{ subnet: 'red4', address: 0xc000_0264n, port: 'vm.two_x', expiresMs: 5000 }];
    leases.revision++;
    expect(await told('vm.two_x.example.org')).toEqual(['192.0.2.100']);
    // As DHCP calls the machine.
    expect(await told('vm-two-x.example.org')).toEqual(['192.0.2.100']);
    expect(await told('100.2.0.192.in-addr.arpa', 'PTR')).toEqual(['vm.two_x.example.org']);
    pass(5000);
    expect(await told('vm.two_x.example.org')).toEqual([]);
    expect(await ask('100.2.0.192.in-addr.arpa', 'PTR')).toMatchObject({ rcode: 'NXDOMAIN' });
  });

  test('is kept by who renews his lease, though no names are made anew for that', async () => {
    const { leases, told, pass } = serving();
    const lease = { subnet: 'red4', address: 0xc000_0264n, port: 'vm.two_x' };
    leases.leases = [{ ...lease, expiresMs: 5000 }];
    expect(await told('vm.two_x.example.org')).toEqual(['192.0.2.100']);
    leases.leases = [{ ...lease, expiresMs: 9000 }];
    pass(6000);
    expect(await told('vm.two_x.example.org')).toEqual(['192.0.2.100']);
    expect(await told('100.2.0.192.in-addr.arpa', 'PTR')).toEqual(['vm.two_x.example.org']);
    expect(leases.reads).toBe(1);
  });

  test('is looked up among those made before, but once a second, where leases are given and released all the time', async () => {
    const { leases, told, pass } = serving();
    for (let round = 0; round < 50; round++) {
      leases.revision++;
      await told('vm1.example.org');
    }
    expect(leases.reads).toBe(5);
    await told('both.example.org', 'A', 'blue');
    expect(leases.reads).toBe(6);
    leases.leases = [{ subnet: 'red4', address: 0xc000_0264n, port: 'vm.two_x', expiresMs: 5000 }];
    leases.revision++;
    pass(999);
    expect(await told('vm.two_x.example.org')).toEqual([]);
    pass(1);
    expect(await told('vm.two_x.example.org')).toEqual(['192.0.2.100']);
    expect(leases.reads).toBe(7);
  });

  test('without what is asked has nothing, which is not that there is no such name', async () => {
    const { ask } = serving();
    const soa = [{ type: 'SOA', name: 'example.org', ttl: 5 }];
    expect(await ask('vm1.example.org', 'MX')).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: soa });
    expect(await ask('example.org')).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: soa });
    expect(await ask('nobody.example.org')).toMatchObject({ rcode: 'NXDOMAIN', answers: [], authorities: soa });
    expect((await ask('example.org', 'SOA')).answers).toMatchObject(soa);
  });

  test('between a port of several labels and the domain exists', async () => {
    const { leases, ask } = serving();
    leases.leases = [{ subnet: 'red4', address: 0xc000_0264n, port: 'vm.two_x', expiresMs: 5000 }];
    leases.revision++;
    expect(await ask('two_x.example.org')).toMatchObject({ rcode: 'NOERROR', answers: [] });
  });

  test('is found by its address, of both families', async () => {
    const { told, ask } = serving();
    expect(await told('5.2.0.192.in-addr.arpa', 'PTR')).toEqual(['vm1.example.org']);
    const reverse6 = `5.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`;
    expect(await told(reverse6, 'PTR')).toEqual(['vm1.example.org']);
    expect(await ask('77.2.0.192.in-addr.arpa', 'PTR')).toMatchObject({
      rcode: 'NXDOMAIN',
      authorities: [{ name: '2.0.192.in-addr.arpa' }],
    });
    // A subnet of part of an octet: the zone is that of whole octets.
    expect(await ask('77.100.51.198.in-addr.arpa', 'PTR', 'blue')).toMatchObject({
      authorities: [{ name: '100.51.198.in-addr.arpa' }],
    });
  });

  test('of another network is nobody’s here, though both have one domain, and is asked nobody', async () => {
    const { ask, asked } = serving(document({ dns: { forward: ['192.0.2.53'] } }));
    expect(await ask('secret.example.org')).toMatchObject({ rcode: 'NXDOMAIN' });
    expect(await ask('vm1.example.org', 'A', 'blue')).toMatchObject({ rcode: 'NXDOMAIN' });
    expect(asked).toEqual([]);
  });

  test('has one label where there is no domain, and all else is somebody else’s', async () => {
    const { told, ask } = serving(document({}, {}));
    expect(await told('vm1')).toEqual(['192.0.2.5']);
    expect(await told('5.2.0.192.in-addr.arpa', 'PTR')).toEqual(['vm1']);
    expect(await ask('vm9')).toMatchObject({ rcode: 'REFUSED' });
    expect(await ask('.', 'NS')).toMatchObject({ rcode: 'REFUSED' });
  });
});

describe('all else', () => {
  test('is refused where nobody can be asked', async () => {
    const { ask, asked, service } = serving();
    expect(await ask('www.example.net')).toMatchObject({ rcode: 'REFUSED', flag_ra: false, answers: [] });
    // In blue it is no address of a subnet.
    expect(await ask('5.2.0.192.in-addr.arpa', 'PTR', 'blue')).toMatchObject({ rcode: 'REFUSED' });
    expect(asked).toEqual([]);
    expect(service.counts).toMatchObject({ queries: 2, refused: 2 });
  });

  test('is asked of a resolver, by what it was asked by', async () => {
    const { ask, asked, given, service } = serving(document({ dns: { forward: ['192.0.2.53'] } }));
    given.answer = Uint8Array.from(
      encode({
        type: 'response',
        id: 7,
        questions: [{ type: 'A', name: 'www.example.net' }],
        answers: [{ type: 'A', name: 'www.example.net', ttl: 9, data: '203.0.113.9' }],
      }),
    );
    expect((await ask('www.example.net')).answers).toMatchObject([{ data: '203.0.113.9' }]);
    expect(asked).toEqual([{ name: 'www.example.net', transport: 'udp' }]);
    given.answer = undefined;
    expect(await ask('www.example.net')).toMatchObject({ rcode: 'SERVFAIL', flag_ra: true });
    expect(service.counts).toMatchObject({ queries: 2, forwarded: 2, failed: 1, answered: 0 });
  });

  test('that a resolver answers at more length than the machine takes is truncated', async () => {
    const { ask, given } = serving(document({ dns: { forward: ['192.0.2.53'] } }));
    const answers = Array.from({ length: 60 }, (_, index) => ({
      ...{ type: 'A' as const, name: 'www.example.net', ttl: 9, data: `203.0.113.${index}` },
    }));
    given.answer = Uint8Array.from(
      encode({ type: 'response', id: 7, questions: [{ type: 'A', name: 'www.example.net' }], answers }),
    );
    const short = await ask('www.example.net');
    expect(short).toMatchObject({ flag_tc: true, answers: [] });
    expect(short.size).toBeLessThanOrEqual(512);
    const additionals = [
      { type: 'OPT', name: '.', udpPayloadSize: 4096, extendedRcode: 0, ednsVersion: 0, flags: 0, options: [] },
    ];
    expect(await ask('www.example.net', 'A', 'red', { additionals })).toMatchObject({ flag_tc: true });
  });

  test('is refused of a zone’s transfer and of another class', async () => {
    const { ask, asked } = serving(document({ dns: { forward: ['192.0.2.53'] } }));
    expect(await ask('example.org', 'AXFR')).toMatchObject({ rcode: 'REFUSED' });
    const chaos = { questions: [{ type: 'TXT', class: 'CH', name: 'version.bind' }] };
    expect(await ask('version.bind', 'TXT', 'red', chaos)).toMatchObject({ rcode: 'REFUSED' });
    expect(asked).toEqual([]);
  });
});

test('what would be answered is explained', () => {
  const { service } = serving();
  const explain = (name: string) =>
    service.explain(Uint8Array.from(encode({ type: 'query', questions: [{ type: 'A', name }] })), 'red');
  expect(explain('vm1.example.org')).toBe('names: answers "vm1.example.org." itself, with 1 records');
  expect(explain('www.example.net')).toContain('refuses "www.example.net."');
});
