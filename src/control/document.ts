/**
 * The text of a configuration document (YAML 1.2, so JSON too) as plain values with the line of each. What is JSON to the
 * letter takes a shorter way (json-text.ts). Runs anywhere; the daemon has long texts read in a thread of their own
 * (document-checks.ts).
 *
 * The text is hostile until proven otherwise: it may come over the control socket. Its size, lexical pieces, nesting and
 * aliases are bounded before anything recursive sees it; keys that JavaScript gives a meaning (`__proto__`) are refused;
 * a key twice in one mapping is an error, not a silent choice of one of them.
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type ParsedNode,
  Parser,
  type YAMLError,
} from 'yaml';
import { UserError, type UserFault } from '../errors.js';
import {
  CONTROL_DOCUMENT_SIZE_MAX,
  DOCUMENT_ALIASES_MAX,
  DOCUMENT_DEPTH_MAX,
  DOCUMENT_LEXEMES_MAX,
  DOCUMENT_VALUES_MAX,
} from '../limits.js';
import { type ConfigPath, documentError, formatPath, pathKey } from './config-path.js';
import { isCleanText, isKeyWord, UNUSABLE_KEY } from './document-text.js';
import { readJson } from './json-text.js';
import type { JsonValue } from './shapes.js';

const REPEATED_KEY = 'the same key is here twice';

/** A document before it is validated. */
export interface SourceDocument {
  readonly value: JsonValue;
  /** Name to show; the file is not read again. */
  readonly fileName: string;
  /** Line of the value at a path, from 1, or of the nearest thing around it that is there. Undefined without a text. */
  lineOf(path: ConfigPath): number | undefined;
}

/** A document that was never text: the daemon's own copy, or one that a command has edited. */
export function documentOf(value: JsonValue, fileName = 'the running configuration'): SourceDocument {
  return { value, fileName, lineOf: () => undefined };
}

/** Reads YAML or JSON. Throws a UserError with every fault of the text. */
export function parseDocument(text: string, fileName: string): SourceDocument {
  checkSize(text, fileName);
  const value = readJson(text);
  return value === undefined ? parseYaml(text, fileName) : { value, fileName, lineOf: linesLater(text, fileName) };
}

/** Lines cost twenty times what values do, and nobody asks for them unless something is wrong. */
function linesLater(text: string, fileName: string): SourceDocument['lineOf'] {
  let read: SourceDocument | undefined;
  return (path) => {
    read ??= parseYaml(text, fileName);
    return read.lineOf(path);
  };
}

function parseYaml(text: string, fileName: string): SourceDocument {
  const lines = new LineCounter();
  const document = compose(text, fileName, lines);
  const reader = new Reader(document, lines);
  const value = reader.read();
  if (reader.faults.length > 0) throw documentError(reader.faults);
  const lineOf = (path: ConfigPath) => {
    for (let length = path.length; length >= 0; length--) {
      const line = reader.lines.get(pathKey(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  };
  return { value, fileName, lineOf };
}

function checkSize(text: string, fileName: string): void {
  if (Buffer.byteLength(text) <= CONTROL_DOCUMENT_SIZE_MAX) return;
  refuse(`${fileName} is longer than ${CONTROL_DOCUMENT_SIZE_MAX} octets`);
}

function refuse(message: string, line?: number): never {
  const fault: UserFault = { code: 'bad-config', message };
  throw new UserError([line === undefined ? fault : { ...fault, line }]);
}

/**
 * The yaml package's own steps one by one, because a bound belongs between each two: the parser keeps its stack in an
 * array and can't overflow, the composer recurses.
 */
function compose(text: string, fileName: string, lines: LineCounter): Document.Parsed<ParsedNode> {
  const tokens = tokensOf(text, lines);
  for (const token of tokens) checkDepth(token, lines);
  // Without prettyErrors a message is one sentence and positions are offsets; lines are ours.
  // Its own search for keys that are there twice compares each with each: 10,000 keys took a second.
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false, strict: true, lineCounter: lines });
  const documents = [...composer.compose(tokens, true, text.length)] as Document.Parsed<ParsedNode>[];
  const [first, second] = documents;
  const faults = documents.flatMap((document) => [
    ...[...document.errors, ...document.warnings].map((problem) => syntaxFault(problem, lines)),
    ...repeatedKeys(document.contents, lines),
  ]);
  if (faults.length > 0) throw documentError(faults);
  if (second !== undefined) refuse('one document is expected, and another begins here', lineAt(second.range[0], lines));
  if (first === undefined || first.contents === null) refuse(`${fileName} is empty; it begins with version: 1`);
  return first;
}

function tokensOf(text: string, lines: LineCounter): CST.Token[] {
  // Parser.parse would do this: the first line has no newline in front of it.
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (++lexemes > DOCUMENT_LEXEMES_MAX) refuse(`more than ${DOCUMENT_LEXEMES_MAX} keys, values and signs`);
    for (const token of parser.next(lexeme)) tokens.push(token);
  }
  for (const token of parser.end()) tokens.push(token);
  return tokens;
}

/** Walks the tokens without recursion. */
function checkDepth(root: CST.Token, lines: LineCounter): void {
  const waiting: { token: CST.Token; depth: number }[] = [{ token: root, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { token, depth } = next;
    if (token.type === 'document' && token.value) waiting.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    if (depth >= DOCUMENT_DEPTH_MAX) {
      refuse(`nested deeper than ${DOCUMENT_DEPTH_MAX} levels`, lineAt(token.offset, lines));
    }
    for (const item of token.items) {
      for (const child of [item.key, item.value]) if (child) waiting.push({ token: child, depth: depth + 1 });
    }
  }
}

function lineAt(offset: number, lines: LineCounter): number {
  return Math.max(1, lines.linePos(offset).line);
}

function syntaxFault(problem: YAMLError, lines: LineCounter): UserFault {
  const message = `not valid YAML or JSON: ${problem.message}`;
  return { code: 'bad-config', message, line: lineAt(problem.pos[0], lines) };
}

/** Keys that YAML takes for the same as one before in their mapping. Told beside syntax errors, so it needs no sound text. */
function repeatedKeys(root: unknown, lines: LineCounter): UserFault[] {
  const faults: UserFault[] = [];
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const node = waiting.pop();
    if (isSeq(node)) for (const item of node.items) waiting.push(item);
    if (!isMap<unknown>(node)) continue;
    const seen = new Set<unknown>();
    for (const { key, value } of node.items) {
      waiting.push(key, value);
      if (!isScalar(key)) continue;
      if (!seen.has(key.value)) seen.add(key.value);
      else faults.push({ code: 'bad-config', message: REPEATED_KEY, line: lineAt(key.range?.[0] ?? 0, lines) });
    }
  }
  return faults;
}

/** Turns nodes into values; collects lines and faults on the way. */
class Reader {
  readonly faults: UserFault[] = [];
  readonly lines = new Map<string, number>();
  private readonly document: Document.Parsed<ParsedNode>;
  private readonly counter: LineCounter;
  private valueCount = 0;
  private aliasCount = 0;

  constructor(document: Document.Parsed<ParsedNode>, counter: LineCounter) {
    this.document = document;
    this.counter = counter;
  }

  read(): JsonValue {
    const { contents } = this.document;
    this.lines.set(pathKey([]), lineAt(contents?.range[0] ?? 0, this.counter));
    return this.value(contents, [], 0);
  }

  private fault(path: ConfigPath, node: Node | null, message: string): null {
    const line = node?.range ? lineAt(node.range[0], this.counter) : this.lines.get(pathKey(path.slice(0, -1)));
    const fault: UserFault = { code: 'bad-config', message, path: formatPath(path) };
    this.faults.push(line === undefined ? fault : { ...fault, line });
    return null;
  }

  private value(node: Node | null, path: ConfigPath, depth: number): JsonValue {
    if (++this.valueCount > DOCUMENT_VALUES_MAX) refuse(`more than ${DOCUMENT_VALUES_MAX} values, aliases followed`);
    if (node === null) return null;
    // Aliases can nest what the text does not.
    if (depth >= DOCUMENT_DEPTH_MAX && !isScalar(node))
      return this.fault(path, node, `nested deeper than ${DOCUMENT_DEPTH_MAX} levels`);
    if (isAlias(node)) return this.aliased(node, path, depth);
    if (node.tag !== undefined && !/^tag:yaml\.org,2002:(map|seq|str|int|float|bool|null)$/.test(node.tag)) {
      return this.fault(path, node, `the tag ${node.tag} has no meaning here`);
    }
    if (isScalar(node)) return this.scalar(node.value, node, path);
    if (isSeq<Node | null>(node)) return node.items.map((item, index) => this.item(item, [...path, index], depth));
    if (isMap<Node, Node | null>(node)) return this.mapping(node.items, path, depth);
    return this.fault(path, node, 'expected a value, a list or a mapping');
  }

  private aliased(node: Node, path: ConfigPath, depth: number): JsonValue {
    if (++this.aliasCount > DOCUMENT_ALIASES_MAX) refuse(`more than ${DOCUMENT_ALIASES_MAX} aliases are followed`);
    const target = isAlias(node) ? node.resolve(this.document) : undefined;
    return target === undefined
      ? this.fault(path, node, 'the alias names nothing')
      : this.value(target, path, depth + 1);
  }

  private scalar(value: unknown, node: Node, path: ConfigPath): JsonValue {
    if (typeof value === 'number') {
      return Number.isFinite(value) ? value : this.fault(path, node, `${value} is not a number that can be used`);
    }
    if (typeof value === 'string') {
      if (isCleanText(value)) return value;
      return this.fault(path, node, 'the text contains a control character or half a character');
    }
    if (typeof value === 'boolean' || value === null) return value;
    return this.fault(path, node, 'expected text, a number, true or false');
  }

  private item(node: Node | null, path: ConfigPath, depth: number): JsonValue {
    if (node?.range) this.lines.set(pathKey(path), lineAt(node.range[0], this.counter));
    return this.value(node, path, depth + 1);
  }

  private mapping(pairs: readonly { key: Node; value: Node | null }[], path: ConfigPath, depth: number): JsonValue {
    const result: Record<string, JsonValue> = {};
    for (const { key, value } of pairs) {
      const name = this.keyName(key, path);
      if (name === undefined) continue;
      const at = [...path, name];
      // `10:` and `"10":` are two keys for YAML and one for us.
      if (Object.hasOwn(result, name)) this.fault(at, key, REPEATED_KEY);
      if (key.range) this.lines.set(pathKey(at), lineAt(key.range[0], this.counter));
      Object.assign(result, { [name]: this.value(value, at, depth + 1) });
    }
    return result;
  }

  private keyName(node: Node, path: ConfigPath): string | undefined {
    const key = isAlias(node) ? node.resolve(this.document) : node;
    // A number as key keeps its spelling: 1.10 is no float here.
    const name = isScalar(key) ? (typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))) : '';
    if (!isKeyWord(name)) {
      this.fault(path, node, 'a key is a word, not empty, a list or a mapping');
      return undefined;
    }
    if (name === UNUSABLE_KEY) {
      this.fault([...path, name], node, `${UNUSABLE_KEY} can not be a key`);
      return undefined;
    }
    return name;
  }
}
