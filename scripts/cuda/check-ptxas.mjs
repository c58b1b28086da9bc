#!/usr/bin/env node
/**
 * Reads what ptxas reported for every kernel (the files that scripts/cuda/launch-nvcc.sh leaves beside the objects) and
 * fails if a kernel that decides the speed keeps registers in memory.
 *
 *   node scripts/cuda/check-ptxas.mjs [folder of a build, default: build] [--all]      --all: every kernel, not a summary
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Files whose kernels may neither spill nor have a stack frame; products_sm90 is one of products. */
const strict = ['attention', 'products', 'sampler'];
const isStrict = (family) => strict.includes(family.split('_')[0]);

const args = process.argv.slice(2);
const folder = args.find((argument) => !argument.startsWith('--')) ?? 'build';
const everything = args.includes('--all');

/** One entry per kernel and architecture. */
function kernelsOf(file) {
  const family = path.basename(file).split('.')[0];
  const kernels = [];
  let current;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, name, architecture] = line.match(/Compiling entry function '(\S+)' for '(\S+)'/) ?? [];
    if (name !== undefined) {
      current = { family, name, architecture, stack: 0, spills: 0, registers: 0 };
      kernels.push(current);
    }
    if (current === undefined) continue;
    const [, stack, stores, loads] =
      line.match(/(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/) ?? [];
    if (stack !== undefined) {
      // Functions that were not inlined have lines of their own before the kernel's sum.
      current.stack = Math.max(current.stack, Number(stack));
      current.spills += Number(stores) + Number(loads);
    }
    const [, registers] = line.match(/Used (\d+) registers/) ?? [];
    if (registers !== undefined) {
      current.registers = Number(registers);
      current.shared = Number(line.match(/(\d+) bytes smem/)?.[1] ?? 0);
      current = undefined;
    }
  }
  return kernels;
}

/** 'paella::cuda::(anonymous namespace)::' and arguments say nothing here. */
function readable(names) {
  const { status, stdout } = spawnSync('c++filt', { input: `${names.join('\n')}\n`, encoding: 'utf8' });
  const lines = status === 0 ? stdout.split('\n') : names;
  return new Map(
    names.map((name, i) => [
      name,
      (lines[i] ?? name)
        .replace(/\(anonymous namespace\)::|paella::cuda::|^void /g, '')
        .replace(/>?\([^()]*\)$/, (end) => (end.startsWith('>') ? '>' : '')),
    ]),
  );
}

const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ptxas'));
if (files.length === 0) {
  console.error(`check-ptxas: no *.ptxas in ${folder}: build the plug-in first (npm run build -- --cuda)`);
  process.exit(1);
}
const kernels = files.flatMap((name) => kernelsOf(path.join(folder, name)));
const names = readable([...new Set(kernels.map(({ name }) => name))]);
const describe = ({ name, architecture, registers, shared, stack, spills }) =>
  `${architecture.padEnd(8)} ${String(registers).padStart(3)} registers, ${shared} B shared` +
  `${stack > 0 ? `, stack ${stack} B` : ''}${spills > 0 ? `, spills ${spills} B` : ''}  ${names.get(name)}`;

let failed = 0;
for (const family of [...new Set(kernels.map((kernel) => kernel.family))].sort()) {
  const own = kernels.filter((kernel) => kernel.family === family);
  const bad = own.filter(({ stack, spills }) => stack > 0 || spills > 0);
  const most = own.reduce((a, b) => (b.registers > a.registers ? b : a));
  const architectures = [...new Set(own.map(({ architecture }) => architecture))].join(', ');
  console.log(`${family}: ${own.length} kernels for ${architectures}`);
  if (everything) for (const kernel of own) console.log(`    ${describe(kernel)}`);
  else console.log(`    most registers: ${describe(most)}`);
  for (const kernel of bad) console.log(`    ${isStrict(family) ? 'FAILED' : 'note'}: ${describe(kernel)}`);
  if (isStrict(family)) failed += bad.length;
}
if (failed > 0) {
  console.error(`check-ptxas: ${failed} kernels of ${strict.join(', ')} spill registers or have a stack frame`);
  process.exit(1);
}
console.log(`check-ptxas: ${kernels.length} kernels, none of ${strict.join(', ')} spills or has a stack frame`);
