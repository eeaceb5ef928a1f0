/** Needs root: makes real interfaces in namespaces of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  HERE,
  inNamespace,
  interfaceDriver,
  interfaceRequest,
  namespaceInode,
  queryInterface,
  requestedName,
  setInterfaceMtu,
  setInterfaceUp,
} from '../../src/dataplane/interface.js';
import { listNamespaces } from '../../src/dataplane/namespaces.js';
import { type LinkEvent, watchLinks } from '../../src/dataplane/netlink.js';
import { attribute, findAttribute, messages, text, uint32 } from '../../src/dataplane/netlink-message.js';
import { until } from '../suites/bench-worker.js';
import { ownInterface } from '../suites/leftovers.js';
import { ip, ipIfThere, TestNamespace } from '../suites/namespace.js';

describe('an interface in another namespace', () => {
  let namespace: TestNamespace;
  beforeEach(() => {
    namespace = new TestNamespace();
    namespace.ip('tuntap', 'add', 't0', 'mode', 'tap');
    namespace.ip('link', 'set', 't0', 'address', '02:00:00:00:00:07');
  });
  afterEach(() => namespace.close());

  test('is asked and changed there, and this thread is at home afterwards', () => {
    const home = namespaceInode(HERE);
    expect(queryInterface('t0')).toBeUndefined();
    expect(queryInterface('t0', namespace.fd)).toMatchObject({
      name: 't0',
      mtu: 1500,
      isUp: false,
      hasCarrier: false,
      isEthernet: true,
    });
    setInterfaceMtu('t0', 9000, namespace.fd);
    setInterfaceUp('t0', true, namespace.fd);
    expect(queryInterface('t0', namespace.fd)).toMatchObject({ mtu: 9000, mac: '02:00:00:00:00:07', isUp: true });
    expect(interfaceDriver('t0', namespace.fd)).toEqual({ driver: 'tun', bus: 'tap' });
    expect(namespaceInode(HERE)).toBe(home);
  });

  test('what fails inside brings the thread home too', () => {
    const home = namespaceInode(HERE);
    expect(() =>
      inNamespace(namespace.fd, () => {
        expect(namespaceInode(HERE)).not.toBe(home);
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(namespaceInode(HERE)).toBe(home);
  });

  test('its namespace is found by inode', () => {
    expect(listNamespaces().get(namespaceInode(namespace.fd))).toBe(`/run/netns/${namespace.name}`);
    expect(listNamespaces().has(namespaceInode(HERE))).toBe(true);
  });

  test('an impossible MTU is an error that names it', () => {
    expect(() => setInterfaceMtu('t0', 1, namespace.fd)).toThrow(/setting the MTU of t0 to 1: EINVAL/);
    expect(() => setInterfaceUp('t1', true, namespace.fd)).toThrow(/ENODEV/);
  });
});

test('loopback is no Ethernet', () => {
  expect(queryInterface('lo')?.isEthernet).toBe(false);
});

test('an interface name that the kernel would cut off or misread is refused', () => {
  expect(requestedName(interfaceRequest('exactly15octets'))).toBe('exactly15octets');
  for (const name of ['', 'sixteen-octets-x', 'a/b']) expect(() => interfaceRequest(name)).toThrow(/can't be the name/);
});

describe('the link watcher', () => {
  test('tells of an interface that appears, changes, is renamed and vanishes', async () => {
    const name = ownInterface('wpw');
    const renamed = ownInterface('wpw');
    const events: (LinkEvent | undefined)[] = [];
    const stop = watchLinks((event) => events.push(event));
    const hears = async (what: string) => {
      await until(`an event of ${what}`, () => events.some((event) => event?.name === what));
      events.length = 0;
    };
    try {
      ip('tuntap', 'add', name, 'mode', 'tap');
      await hears(name);
      ip('link', 'set', name, 'mtu', '1400');
      await hears(name);
      ip('link', 'set', name, 'name', renamed);
      await hears(renamed);
      ip('link', 'del', renamed);
      await hears(renamed);
    } finally {
      stop();
      ipIfThere('link', 'del', name);
      ipIfThere('link', 'del', renamed);
    }
  });

  test('tells nothing after it was stopped, while another still hears', async () => {
    const name = ownInterface('wpw');
    let first = 0;
    let second = 0;
    const stopFirst = watchLinks(() => first++);
    const stopSecond = watchLinks(() => second++);
    stopFirst();
    try {
      ip('tuntap', 'add', name, 'mode', 'tap');
      await until('the second hears', () => second > 0);
      expect(first).toBe(0);
    } finally {
      stopSecond();
      ipIfThere('link', 'del', name);
    }
  });
});

describe('netlink messages', () => {
  test('attributes are padded and found again', () => {
    const body = new Uint8Array([0, 0, 0, 0, ...attribute(3, text('eth0')), ...attribute(4, uint32(1500))]);
    expect(findAttribute(body, 4, 3)).toEqual(text('eth0'));
    expect(findAttribute(body, 4, 4)).toEqual(uint32(1500));
    expect(findAttribute(body, 4, 5)).toBeUndefined();
  });

  test('what is cut off or says a wrong length ends the list instead of being read', () => {
    const one = new Uint8Array(20);
    new DataView(one.buffer).setUint32(0, 20, true);
    const two = new Uint8Array([...one, ...one]);
    for (let size = 0; size <= two.length; size++) {
      expect([...messages(two, size)]).toHaveLength(Math.floor(size / 20));
    }
    new DataView(two.buffer).setUint32(20, 3, true);
    expect([...messages(two, 40)]).toHaveLength(1);
    for (let end = 0; end < 12; end++)
      expect(findAttribute(attribute(3, text('eth0')).slice(0, end), 0, 3)).toEqual(end < 9 ? undefined : text('eth0'));
  });
});
