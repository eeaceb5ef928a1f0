/**
 * Puts the numbers of constants in the place of their names as TypeScript is emitted: `pool.policy[slot] & POLICY_GUARD`
 * becomes `pool.policy[slot] & 2`. Between ES modules V8 can't do that: an exported constant is a cell that is loaded, asked
 * whether it has been initialised, and untagged wherever the name stands, also in its own module. Hot code is full of
 * such names, so this takes a seventh of what policy costs a frame, and makes functions short enough to be inlined.
 *
 * A constant is a `const` of a module's top level whose value is arithmetic on numbers and on other such constants. What
 * is anything else keeps its name. Imports stay as they are, so modules are evaluated in the same order.
 */
import ts from 'typescript';

/** @typedef {(left: number, right: number) => number} Operation */

/** @type {ReadonlyMap<ts.SyntaxKind, Operation>} */
const operations = new Map(
  /** @type {[ts.SyntaxKind, Operation][]} */ ([
    [ts.SyntaxKind.PlusToken, (left, right) => left + right],
    [ts.SyntaxKind.MinusToken, (left, right) => left - right],
    [ts.SyntaxKind.AsteriskToken, (left, right) => left * right],
    [ts.SyntaxKind.SlashToken, (left, right) => left / right],
    [ts.SyntaxKind.AsteriskAsteriskToken, (left, right) => left ** right],
    [ts.SyntaxKind.LessThanLessThanToken, (left, right) => left << right],
    [ts.SyntaxKind.GreaterThanGreaterThanToken, (left, right) => left >> right],
    [ts.SyntaxKind.GreaterThanGreaterThanGreaterThanToken, (left, right) => left >>> right],
    [ts.SyntaxKind.BarToken, (left, right) => left | right],
    [ts.SyntaxKind.AmpersandToken, (left, right) => left & right],
    [ts.SyntaxKind.CaretToken, (left, right) => left ^ right],
  ]),
);

/** Values of constants, each worked out once. */
class Constants {
  /** @param {ts.TypeChecker} checker */
  constructor(checker) {
    this.checker = checker;
    /** @type {Map<ts.Declaration, number | undefined>} */
    this.values = new Map();
  }

  /** Value of the constant that the name stands for; undefined: it stands for something else. @param {ts.Identifier} name */
  valueOf(name) {
    const { parent } = name;
    const symbol = ts.isShorthandPropertyAssignment(parent)
      ? this.checker.getShorthandAssignmentValueSymbol(parent)
      : this.checker.getSymbolAtLocation(name);
    if (symbol === undefined) return undefined;
    const isImported = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
    const { valueDeclaration } = isImported ? this.checker.getAliasedSymbol(symbol) : symbol;
    return valueDeclaration && this.valueOfDeclaration(valueDeclaration);
  }

  /** @private @param {ts.Declaration} declaration @returns {number | undefined} */
  valueOfDeclaration(declaration) {
    if (this.values.has(declaration)) return this.values.get(declaration);
    // In case it refers to itself.
    this.values.set(declaration, undefined);
    const value = isConstant(declaration) ? this.evaluate(declaration.initializer) : undefined;
    const known = Number.isFinite(value) ? value : undefined;
    this.values.set(declaration, known);
    return known;
  }

  /** @private @param {ts.Expression | undefined} node @returns {number | undefined} */
  evaluate(node) {
    if (node === undefined) return undefined;
    if (ts.isNumericLiteral(node)) return Number(node.text);
    if (ts.isParenthesizedExpression(node)) return this.evaluate(node.expression);
    if (ts.isIdentifier(node)) return this.valueOf(node);
    if (ts.isPrefixUnaryExpression(node)) {
      const value = this.evaluate(node.operand);
      if (value === undefined) return undefined;
      if (node.operator === ts.SyntaxKind.MinusToken) return -value;
      return node.operator === ts.SyntaxKind.TildeToken ? ~value : undefined;
    }
    if (!ts.isBinaryExpression(node)) return undefined;
    const left = this.evaluate(node.left);
    const right = this.evaluate(node.right);
    if (left === undefined || right === undefined) return undefined;
    return operations.get(node.operatorToken.kind)?.(left, right);
  }
}

/** @param {ts.Declaration} node @returns {node is ts.VariableDeclaration} */
function isConstant(node) {
  if (!ts.isVariableDeclaration(node) || !ts.isVariableDeclarationList(node.parent)) return false;
  return (node.parent.flags & ts.NodeFlags.Const) !== 0 && ts.isSourceFile(node.parent.parent.parent);
}

/** Whether the name is read for its value, rather than declares or names something. @param {ts.Identifier} name */
function isRead(name) {
  const { parent } = name;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === name;
  if (ts.isPropertyAssignment(parent) || ts.isVariableDeclaration(parent)) return parent.initializer === name;
  if (ts.isParameter(parent) || ts.isPropertyDeclaration(parent)) return parent.initializer === name;
  if (ts.isBindingElement(parent)) return parent.initializer === name;
  return ts.isExpression(parent) || ts.isStatement(parent) || ts.isCaseClause(parent) || ts.isTemplateSpan(parent);
}

/** @param {ts.NodeFactory} factory @param {number} value */
function literalOf(factory, value) {
  if (value >= 0 && !Object.is(value, -0)) return factory.createNumericLiteral(value);
  const magnitude = factory.createNumericLiteral(-value);
  return factory.createParenthesizedExpression(
    factory.createPrefixUnaryExpression(ts.SyntaxKind.MinusToken, magnitude),
  );
}

/** A transformer for `program.emit`, to run before the others. @param {ts.Program} program @returns {ts.TransformerFactory<ts.SourceFile>} */
export function inlineConstants(program) {
  const constants = new Constants(program.getTypeChecker());
  return (context) => {
    const { factory } = context;
    /** @type {ts.Visitor} */
    const visit = (node) => {
      if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node;
      if (ts.isShorthandPropertyAssignment(node)) {
        const value = constants.valueOf(node.name);
        return value === undefined ? node : factory.createPropertyAssignment(node.name, literalOf(factory, value));
      }
      if (!ts.isIdentifier(node)) return ts.visitEachChild(node, visit, context);
      const value = isRead(node) ? constants.valueOf(node) : undefined;
      return value === undefined ? node : literalOf(factory, value);
    };
    return (file) => /** @type {ts.SourceFile} */ (ts.visitNode(file, visit));
  };
}
