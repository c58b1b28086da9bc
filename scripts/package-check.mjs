#!/usr/bin/env node
/**
 * Checks the package as npm would publish it: prebuildify → npm pack → publint and attw on the tarball → installed
 * into an empty project, used through require, import, TypeScript of both kinds and the command.
 *
 *   node scripts/package-check.mjs [--keep]     --keep leaves the project for a look
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './setup/files.mjs';
import { Failure, report, step } from './setup/log.mjs';

const bin = (name) => path.join(root, 'node_modules', '.bin', name);
const MAX_TARBALL = 100 * 2 ** 20;

function run(command, args, cwd = root, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  if (status !== 0) {
    throw new Failure(
      `${path.basename(command)} ${args.slice(0, 3).join(' ')}: ${error?.message ?? `exit code ${status}`}\n${stdout}${stderr}`,
    );
  }
  return stdout;
}

function expect(condition, text) {
  if (!condition) throw new Failure(`package: expected ${text}`);
}

function pack(folder) {
  rmSync(path.join(root, 'prebuilds'), { recursive: true, force: true });
  run(process.execPath, [
    path.join(root, 'node_modules/prebuildify/bin.js'),
    '--napi',
    '--strip',
    '--tag-libc',
    '--node-gyp',
    './scripts/prebuild-cmake.sh',
  ]);
  const built = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  expect(existsSync(built) && readdirSync(built).some((name) => name.endsWith('.node')), `a .node file in ${built}`);
  const [{ filename, files }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder]));
  const names = files.map(({ path: name }) => name);
  for (const wanted of [
    'dist/esm/index.js',
    'dist/cjs/index.js',
    'engines/profiles.json',
    'dist/esm/cli/main.js',
    'models/tiny/model_index.json',
    'models/tiny/domain.json',
    'README.md',
    'LICENSE',
  ]) {
    expect(names.includes(wanted), `${wanted} in the tarball`);
  }
  const strays = names.filter(
    (name) =>
      !/^(dist\/|engines\/|models\/|prebuilds\/|package\.json$|README\.md$|LICENSE$|docs\/[\w-]+\.md$|CHANGELOG\.md$)/.test(
        name,
      ),
  );
  expect(strays.length === 0, `nothing but the listed files in the tarball, found ${strays.join(', ')}`);
  const tarball = path.join(folder, filename);
  const { size } = statSync(tarball);
  expect(size < MAX_TARBALL, `a tarball below ${MAX_TARBALL / 2 ** 20} MiB, got ${(size / 2 ** 20).toFixed(1)}`);
  return { tarball, size };
}

/** As a user would: dependencies come from the registry, or from npm's cache of it. */
function install(tarball, project) {
  writeFileSync(path.join(project, 'package.json'), '{ "name": "user", "private": true }\n');
  run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], project);
}

function use(project) {
  const options = '{ prompt: "a red circle", steps: 2, seed: 1 }';
  const tell = '.then(([image]) => image.save("NAME.png")).then(() => console.log("ok"))';
  writeFileSync(
    path.join(project, 'by-require.cjs'),
    `require('paella-native').generate(${options})${tell.replace('NAME', 'required')};\n`,
  );
  writeFileSync(
    path.join(project, 'by-import.mjs'),
    `import { generate } from 'paella-native';\nawait generate(${options})${tell.replace('NAME', 'imported')};\n`,
  );
  expect(run(process.execPath, ['by-require.cjs'], project) === 'ok\n', 'require() to work');
  expect(run(process.execPath, ['by-import.mjs'], project) === 'ok\n', 'import to work');
  const command = path.join(project, 'node_modules', '.bin', 'paella');
  expect(
    /circle\.png/.test(run(command, ['a red circle', '--steps', '2', '-o', 'circle.png'], project)),
    'the command to write circle.png',
  );
  for (const name of ['required.png', 'imported.png', 'circle.png']) expect(existsSync(path.join(project, name)), name);
  const tried = JSON.parse(run(command, ['doctor', '--json'], project));
  expect(tried.folder.startsWith(project), `the installed package to be used, not ${tried.folder}`);
  cpSync(path.join(root, 'test', 'types'), path.join(project, 'types'), { recursive: true });
  mkdirSync(path.join(project, 'node_modules', '@types'), { recursive: true });
  for (const name of ['@types/node', 'undici-types'])
    cpSync(path.join(root, 'node_modules', name), path.join(project, 'node_modules', name), { recursive: true });
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'types'], project);
}

const folder = mkdtempSync(path.join(tmpdir(), 'paella-package-'));
try {
  let packed;
  await step('packing (prebuildify, npm pack)', () => {
    packed = pack(folder);
  });
  process.stderr.write(`setup: the tarball has ${(packed.size / 2 ** 20).toFixed(1)} MiB\n`);
  await step('publint', () => run(bin('publint'), ['--strict', packed.tarball]));
  await step('attw', () => run(bin('attw'), [packed.tarball]));
  const project = path.join(folder, 'project');
  mkdirSync(project);
  await step('installing into an empty project', () => install(packed.tarball, project));
  await step('using it: require, import, command, types', () => use(project));
  process.stderr.write('package: all checks passed\n');
} catch (error) {
  report(error);
  process.exitCode = 1;
} finally {
  if (process.argv.includes('--keep')) process.stderr.write(`kept: ${folder}\n`);
  else rmSync(folder, { recursive: true, force: true });
}
