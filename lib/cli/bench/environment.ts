/** What every document of a benchmark says about where it was measured, and every row about what was. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { backends } from '../../engine/backends.js';
import { packageRoot, packageVersion } from '../../package-root.cjs';
import type { BenchRow, Environment } from './schema.js';

export async function environment(): Promise<Environment> {
  const known = await backends();
  const gpus = known.flatMap(({ name, devices }) => (name === 'cuda' ? devices : []));
  return {
    time: new Date().toISOString(),
    cpu: cpuName(),
    cores: os.availableParallelism(),
    memoryGiB: Math.round((os.totalmem() / 2 ** 30) * 10) / 10,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    runtimes: { node: process.versions.node, ...librariesOf(known) },
    gpus: gpus.map(({ name, computeCapability, memoryTotal }) => ({
      name,
      memoryGiB: Math.round((memoryTotal / 2 ** 30) * 10) / 10,
      ...(computeCapability === undefined ? {} : { computeCapability }),
    })),
  };
}

/** The processor's name; with its family and model where a virtual machine leaves the number out: 'AMD EPYC' is many. */
export function cpuName(): string {
  const name = os.cpus()[0]?.model.trim() || 'unknown';
  if (/\d/.test(name) || !existsSync('/proc/cpuinfo')) return name;
  const text = readFileSync('/proc/cpuinfo', 'utf8');
  const [family, model] = ['cpu family', 'model'].map(
    (key) => new RegExp(`^${key}\\s*:\\s*(\\d+)$`, 'm').exec(text)?.[1],
  );
  return family && model ? `${name} (family ${family}, model ${model})` : name;
}

/** 'cpu.onednn': '3.2.1', …: what the backends that can be used tell of themselves. */
function librariesOf(known: Awaited<ReturnType<typeof backends>>): Record<string, string> {
  return Object.fromEntries(
    known
      .filter(({ available }) => available)
      .flatMap(({ name, details }) => Object.entries(details).map(([what, text]) => [`${name}.${what}`, text])),
  );
}

/** This package, as the subject of a row. */
export function subject(): Pick<BenchRow, 'subject' | 'version' | 'commit'> {
  commitNow ??= { commit: commit() };
  return { subject: 'paella-native', version: packageVersion, ...commitNow };
}

let commitNow: { commit: string | null } | undefined;

/** Of the clone, with '+' when it has changes (not in docs/, where results go); null in an installed package. */
function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', packageRoot, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    // An installed package may lie inside somebody else's repository.
    if (git('ls-files', '--error-unmatch', 'package.json') === '') return null;
    const changes = git('status', '--porcelain', '--untracked-files=no', '--', ':!docs');
    return `${git('rev-parse', '--short=12', 'HEAD')}${changes === '' ? '' : '+'}`;
  } catch {
    return null;
  }
}
