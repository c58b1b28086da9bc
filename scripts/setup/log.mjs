/** What setup says and how it runs programs. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './files.mjs';

/** A problem with a known remedy: shown without a stack. */
export class Failure extends Error {
  constructor(message, remedy, log) {
    super(message);
    this.remedy = remedy;
    this.log = log;
  }
}

export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

export function report(error) {
  if (!(error instanceof Failure)) {
    console.error(error);
    return;
  }
  const lines = [''];
  if (error.log)
    lines.push(`----- end of ${path.relative(process.cwd(), error.log)} -----`, tail(error.log, 30), '-----');
  lines.push(`setup failed: ${error.message}`);
  if (error.remedy) lines.push(`what to do: ${error.remedy}`);
  process.stderr.write(`${lines.join('\n')}\n`);
}

function tail(file, count) {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '(no log)';
  }
}

/** Announces a step, runs it, and adds how long it took. */
export async function step(text, body) {
  const start = Date.now();
  process.stderr.write(`setup: ${text} … `);
  try {
    const result = await body();
    process.stderr.write(`${((Date.now() - start) / 1000).toFixed(1)} s\n`);
    return result;
  } catch (error) {
    process.stderr.write('failed\n');
    throw error;
  }
}

/**
 * Runs a program with its output in build/logs/<name>.log, which is shown only when the program fails.
 * Several commands may share a log: `append` keeps what is there.
 */
export async function run(command, args, { name, remedy, append = false, env = {}, cwd = root }) {
  const folder = path.join(root, 'build', 'logs');
  mkdirSync(folder, { recursive: true });
  const log = path.join(folder, `${name}.log`);
  const file = openSync(log, append ? 'a' : 'w');
  const outcome = await new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', file, file] });
    const forward = (signal) => child.kill(signal);
    process.on('SIGINT', forward).on('SIGTERM', forward);
    child.on('error', (error) => resolve({ error }));
    child.on('close', (code, signal) => {
      process.off('SIGINT', forward).off('SIGTERM', forward);
      resolve({ code, signal });
    });
  });
  closeSync(file);
  if (outcome.code === 0) return;
  if (outcome.signal === 'SIGINT') process.exit(130);
  const why = outcome.error
    ? outcome.error.message
    : outcome.signal
      ? `ended by ${outcome.signal}`
      : `exit code ${outcome.code}`;
  throw new Failure(`${path.basename(command)} ${args[0] ?? ''}: ${why}`, remedy, outcome.error ? undefined : log);
}

/** First line of what a program prints (or all of it), or null when it does not exist or fails. */
export async function probe(command, args, { all = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve(code === 0 ? (all ? text : (text.split('\n')[0] ?? '')) : null));
  });
}
