/** What every row of a benchmark says about where it was measured. */
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { packageRoot, packageVersion } from '../../package-root.cjs';

export interface Environment {
  version: string;
  /** Of the clone, with '+' when it has changes; null in an installed package. */
  commit: string | null;
  /** ISO 8601. */
  time: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  os: string;
  node: string;
}

export function environment(): Environment {
  return {
    version: packageVersion,
    commit: commit(),
    time: new Date().toISOString(),
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round((os.totalmem() / 2 ** 30) * 10) / 10,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.versions.node,
  };
}

function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', packageRoot, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    // An installed package may lie inside somebody else's repository.
    if (git('ls-files', '--error-unmatch', 'package.json') === '') return null;
    return `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'}`;
  } catch {
    return null;
  }
}
