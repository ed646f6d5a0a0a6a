// TypeScript's own compiler beside our stripper.
//
// node oracle.mjs TYPESCRIPT sources FOLDER    prints [{ name, source }], a source once and without its modules' sides
// node oracle.mjs TYPESCRIPT compare FILE      prints what is not the same in [{ name, source, stripped | refused }]
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";

const [typescript, task, place] = process.argv.slice(2);
const ts = createRequire(import.meta.url)(typescript);
const { SyntaxKind: Kind } = ts;

const compilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  useDefineForClassFields: true,
  removeComments: true,
  allowJs: true,
};

function compiled(text, fileName) {
  const { outputText, diagnostics } = ts.transpileModule(text, { compilerOptions, fileName, reportDiagnostics: true });
  const tree = ts.createSourceFile("out.js", outputText, ts.ScriptTarget.ESNext, false, ts.ScriptKind.JS);
  return { tree, problem: diagnostics.length ? ts.flattenDiagnosticMessageText(diagnostics[0].messageText, " ") : undefined };
}

// Of what leaves no trace in a program that runs: brackets, empty statements and members.
const isTrace = (node) => ![Kind.EmptyStatement, Kind.SemicolonClassElement].includes(node.kind);
const unwrapped = (node) => (node.kind === Kind.ParenthesizedExpression ? unwrapped(node.expression) : node);
function children(node) {
  const all = [];
  ts.forEachChild(node, (child) => void all.push(unwrapped(child)));
  return all.filter(isTrace);
}

function difference(one, other) {
  // An import while it runs goes to a function of ours, which refuses it in words.
  if (one.kind === Kind.ImportKeyword && other.kind === Kind.PropertyAccessExpression) return;
  if (one.kind !== other.kind) return `${Kind[one.kind]} is ${Kind[other.kind]}`;
  for (const key of ["text", "rawText", "operator", "flags"]) {
    const isOwn = key === "flags" ? one.kind === Kind.VariableDeclarationList : one.kind !== Kind.SourceFile;
    if (isOwn && one[key] !== other[key]) return `${Kind[one.kind]} has ${key} ${one[key]} and ${other[key]}`;
  }
  const [ones, others] = [children(one), children(other)];
  for (let at = 0; at < Math.max(ones.length, others.length); at++) {
    if (!ones[at] || !others[at]) {
      const odd = ones[at] ?? others[at];
      return `${Kind[one.kind]} has ${Kind[odd.kind]} with ${ones[at] ? "TypeScript" : "us"} only`;
    }
    const found = difference(ones[at], others[at]);
    if (found) return found;
  }
}

const isAmbient = (node) => node.modifiers?.some((modifier) => modifier.kind === Kind.DeclareKeyword);

/// What is more than a type, as `erasableSyntaxOnly` has it, and what toolcell refuses beside it.
function inerasable(node) {
  if (isAmbient(node)) return;
  if (node.kind === Kind.EnumDeclaration) return "an enum";
  if (node.kind === Kind.ModuleDeclaration && ts.isInstantiatedModule(node, false)) return "a namespace";
  if (node.kind === Kind.ImportEqualsDeclaration && !node.isTypeOnly) return "import =";
  if (node.kind === Kind.ExportAssignment && node.isExportEquals) return "export =";
  if (node.kind === Kind.Decorator) return "a decorator";
  if (node.kind === Kind.MetaProperty && node.keywordToken === Kind.ImportKeyword) return "import.meta";
  if (node.kind === Kind.Parameter && ts.isParameterPropertyDeclaration(node, node.parent)) return "a parameter property";
  return ts.forEachChild(node, inerasable);
}

/// Makes imports and exports blank: what becomes of them is decided elsewhere in this crate.
function withoutModules(source) {
  const tree = ts.createSourceFile("in.ts", source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
  const blanks = [];
  for (const statement of tree.statements) {
    if (statement.modifiers?.some((modifier) => modifier.kind === Kind.DefaultKeyword)) return;
    if ([Kind.ImportDeclaration, Kind.ExportDeclaration, Kind.ExportAssignment].includes(statement.kind)) {
      blanks.push([statement.getStart(), statement.end, ";"]);
    }
    for (const modifier of statement.modifiers ?? []) {
      if (modifier.kind === Kind.ExportKeyword) blanks.push([modifier.getStart(), modifier.end, ""]);
    }
  }
  let [text, from] = ["", 0];
  for (const [start, end, instead] of blanks) {
    text += source.slice(from, start) + instead + source.slice(start + instead.length, end).replace(/[^\r\n]/g, " ");
    from = end;
  }
  return text + source.slice(from);
}

function sources(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  const names = files
    .filter((file) => file.isFile() && file.name.endsWith(".ts") && !/\.(d|test-d)\./.test(file.name))
    .map((file) => `${file.parentPath ?? file.path}/${file.name}`);
  const seen = new Map(names.sort().map((name) => [withoutModules(readFileSync(name, "utf8")), name]));
  seen.delete(undefined);
  return [...seen].map(([source, name]) => ({ name, source }));
}

function problem({ source, stripped, refused }) {
  const more = inerasable(ts.createSourceFile("in.ts", source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS));
  if (refused !== undefined) return more ? undefined : `refused without a reason: ${refused}`;
  if (more) return `${more} was not refused`;
  const theirs = compiled(source, "in.ts");
  const ours = compiled(stripped, "in.js");
  if (theirs.problem) return;
  return ours.problem ? `is no JavaScript: ${ours.problem}` : difference(theirs.tree, ours.tree);
}

if (task === "sources") {
  process.stdout.write(JSON.stringify(sources(place)));
} else {
  for (const each of JSON.parse(readFileSync(place, "utf8"))) {
    const found = problem(each);
    if (found) console.log(`${each.name}: ${found.slice(0, 300)}`);
  }
}
