#!/usr/bin/env node
/**
 * Checks (or with --write corrects) the format of all C++, with one pinned version of clang-format: another one
 * formats differently. It comes from pip, into a cache folder outside the repository.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { root } from './setup/files.mjs';
import { Failure, report, run, step } from './setup/log.mjs';

const version = '19.1.7';

async function findTool() {
  const cache = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  const folder = path.join(cache, 'paella-native', `clang-format-${version}`);
  const tool = path.join(folder, 'bin', 'clang-format');
  if (!existsSync(tool)) {
    const remedy = `install Python 3 with pip and venv (Debian and Ubuntu: \`apt install python3-venv\`)`;
    await step(`fetching clang-format ${version} from pip`, async () => {
      await run('python3', ['-m', 'venv', folder], { name: 'clang-format', remedy });
      await run(path.join(folder, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', `clang-format==${version}`], {
        name: 'clang-format',
        append: true,
        remedy: 'check that pip can reach its package index',
      });
    });
  }
  return tool;
}

function sources() {
  return ['native', 'test/native', 'test/onnx']
    .filter((folder) => existsSync(path.join(root, folder)))
    .flatMap((folder) =>
      readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(h|cpp|cu|cuh)$/.test(name))
        .map((name) => path.join(folder, name)),
    );
}

try {
  const tool = await findTool();
  const write = process.argv.includes('--write');
  const files = sources();
  if (files.length === 0) throw new Failure('no C++ sources found');
  if (write) execFileSync(tool, ['-i', ...files], { cwd: root, stdio: 'inherit' });
  else {
    const { status } = spawnSync(tool, ['--dry-run', '--Werror', '--ferror-limit=5', ...files], {
      cwd: root,
      stdio: 'inherit',
    });
    if (status !== 0) throw new Failure('C++ sources are not formatted', 'run `npm run format`');
  }
  process.stderr.write(`clang-format: ${files.length} files ${write ? 'formatted' : 'as they should be'}\n`);
} catch (error) {
  report(error);
  process.exitCode = 1;
}
