/** Where names are answered, what machines are told of it, and which metadata endpoints can be. */
import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { UserError } from '../../src/errors.js';
import { ipText } from '../../src/wire/address.js';

const four = { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: {} };
const six = { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'stateless' } };
const forward = { dns: { forward: ['203.0.113.53'] } };
const routers = { r: { interfaces: { red: ['192.0.2.1/24', '2001:db8::1/64'], lan: '198.51.100.1/24' } } };
const linkLocal = ipText(linkLocalOf(virtualMac('red')));

function resolved(subnet: object, more: object = {}) {
  const document = {
    version: 1,
    networks: { red: { type: 'local' }, lan: { type: 'flat', uplink: 'up' } },
    ports: {
      vm: { kind: 'memory', network: 'red', addresses: ['192.0.2.254/24', '2001:db8::fe/64'] },
      up: { kind: 'netdev', trunk: 'auto' },
    },
    subnets: { s: subnet },
    ...more,
  };
  const { subnets } = checkDocument(documentOf(document as never)).resolved;
  const found = subnets.get('s');
  if (found === undefined) throw new Error('no subnet');
  return found;
}

const namesAt = (subnet: object, more: object = {}) => {
  const { names } = resolved(subnet, more);
  return names && [ipText(names.server), names.isAnswered];
};

describe('names are answered', () => {
  test('at the gateway where a router of ours has it, whatever serves addresses', () => {
    expect(namesAt(four, { routers })).toEqual(['192.0.2.1', false]);
    expect(namesAt({ ...four, dhcp: undefined }, { routers })).toEqual(['192.0.2.1', false]);
    expect(namesAt(six, { routers })).toEqual(['2001:db8::1', false]);
    const lan = { network: 'lan', cidr: '198.51.100.0/24', gateway: '198.51.100.1' };
    expect(namesAt(lan, { routers })).toEqual(['198.51.100.1', false]);
  });

  test('at the gateway that the address service stands in for', () => {
    expect(namesAt(four)).toEqual(['192.0.2.1', false]);
    expect(namesAt(six)).toEqual(['2001:db8::1', true]);
  });

  test('not at a gateway that is a machine or behind an uplink, which has a port 53 of its own', () => {
    expect(namesAt({ ...four, gateway: '192.0.2.254' })).toBeUndefined();
    expect(namesAt({ ...four, network: 'lan' })).toBeUndefined();
    expect(namesAt({ ...six, gateway: '2001:db8::fe' })).toEqual([linkLocal, false]);
    expect(namesAt({ network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1' })).toBeUndefined();
  });

  test("at the DHCP server's address where there is no gateway, or another server", () => {
    expect(namesAt({ network: 'red', cidr: '192.0.2.0/24', dhcp: {} })).toEqual(['192.0.2.1', false]);
    expect(namesAt({ ...four, gateway: '192.0.2.254', dhcp: { server: '192.0.2.2' } })).toEqual(['192.0.2.2', false]);
  });

  test('nowhere where the configuration says so', () => {
    expect(namesAt({ ...four, names: false }, { routers })).toBeUndefined();
  });
});

describe('machines are told of it', () => {
  const told = (subnet: object, settings: object) => {
    const { dhcp, dhcp6, ra } = resolved(subnet, { settings, routers });
    return { dns: dhcp?.dns, dns6: dhcp6?.dns.map(ipText), rdnss: ra?.rdnss.map(ipText) };
  };

  test('where resolvers answer the rest, by DHCP, DHCPv6 and advertisements', () => {
    expect(told(four, forward).dns).toEqual([0xc000_0201]);
    expect(told(six, forward)).toMatchObject({ dns6: ['2001:db8::1'], rdnss: ['2001:db8::1'] });
  });

  test('not where nobody does: one that refuses the world must not replace one that they have', () => {
    expect(told(four, {}).dns).toEqual([]);
    expect(told(six, {})).toMatchObject({ dns6: [], rdnss: [] });
  });

  test('not where the subnet names another', () => {
    expect(told({ ...four, dhcp: { dns: ['192.0.2.7'] } }, forward).dns).toEqual([0xc000_0207]);
    const other = { ...six, ra: { mode: 'stateless', rdnss: ['2001:db8::7'] } };
    expect(told(other, forward)).toMatchObject({ dns6: ['2001:db8::7'], rdnss: ['2001:db8::7'] });
  });
});

describe('metadata', () => {
  const settings = (endpoint: string) => ({ settings: { metadata: { endpoint } } });
  const route = { destination: 0xa9fe_a9fe, prefixLength: 32, via: 0xc000_0201 };

  test('has a host route by the DHCP server, unless the subnet has one', () => {
    expect(resolved(four, settings('http://127.0.0.1:8775')).dhcp?.routes).toEqual([route]);
    expect(resolved(four).dhcp?.routes).toEqual([]);
    const own = { to: '169.254.169.254/32', via: '192.0.2.9' };
    const written = resolved({ ...four, dhcp: { routes: [own] } }, settings('http://127.0.0.1:8775'));
    expect(written.dhcp?.routes).toEqual([{ ...route, via: 0xc000_0209 }]);
  });

  test.each([
    '127.0.0.1:8775',
    'ftp://192.0.2.1/',
    'http://',
    'http://u:p@192.0.2.1/',
    'http://192.0.2.1/?x',
    'nonsense',
  ])('can not be fetched from %s', (endpoint) => {
    expect(() => resolved(four, settings(endpoint))).toThrow(UserError);
  });

  test.each(['http://127.0.0.1:8775', 'https://metadata.example/base/', 'http://[2001:db8::1]:8775'])(
    'can be fetched from %s',
    (endpoint) => {
      expect(resolved(four, settings(endpoint)).names).toBeDefined();
    },
  );
});
