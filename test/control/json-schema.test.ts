import { describe, expect, test } from 'vitest';
import { configJsonSchema } from '../../src/control/json-schema.js';
import { units } from '../../src/control/units.js';

interface Node {
  description?: string;
  type?: string;
  properties?: Record<string, Node>;
  additionalProperties?: Node | boolean;
  items?: Node;
  anyOf?: Node[];
  pattern?: string;
  default?: unknown;
}

const schema = configJsonSchema() as Node;
const section = (name: string) => schema.properties?.[name]?.additionalProperties as Node;

function* objects(node: Node, path: string): Generator<{ path: string; node: Node }> {
  if (node.properties) yield { path, node };
  for (const [key, child] of Object.entries(node.properties ?? {})) yield* objects(child, `${path}.${key}`);
  if (typeof node.additionalProperties === 'object') yield* objects(node.additionalProperties, `${path}.*`);
  if (node.items) yield* objects(node.items, `${path}[]`);
  for (const branch of node.anyOf ?? []) yield* objects(branch, path);
}

describe('the JSON Schema', () => {
  test('describes every key and allows no other', () => {
    const all = [...objects(schema, '')];
    expect(all.length).toBeGreaterThan(20);
    for (const { path, node } of all) {
      expect({ path, strict: node.additionalProperties }).toEqual({ path, strict: false });
      for (const [key, child] of Object.entries(node.properties ?? {})) {
        expect({ key: `${path}.${key}`, described: (child.description ?? '').length > 3 }).toEqual({
          key: `${path}.${key}`,
          described: true,
        });
      }
    }
  });

  test('has the defaults of the reference', () => {
    expect(section('networks').properties?.macAge.default).toBe('300s');
    expect(section('networks').properties?.macLimit.default).toBe(8192);
    expect(section('ports').properties?.queues.default).toBe(1);
    expect(section('ports').properties?.tunnel.properties?.tpid.default).toBe(0x88a8);
  });

  test('says which keys this version refuses', () => {
    expect(section('ports').properties?.rate.description).toMatch(
      /Refused: this version does not enforce rates yet\.$/,
    );
    expect(section('ports').properties?.isolated.description).not.toContain('Refused');
    expect(section('routers').properties?.interfaces.description).not.toContain('Refused');
  });

  test('has patterns for quantities that agree with the parser', () => {
    const pattern = new RegExp(section('networks').properties?.macAge.pattern ?? '');
    expect(pattern.source).toBe(units.duration.pattern);
    for (const good of ['300s', '2h5m', '1.5s']) expect(pattern.test(good)).toBe(true);
    for (const bad of ['300', '5 m', '5mbit', '']) expect(pattern.test(bad)).toBe(false);
  });
});
