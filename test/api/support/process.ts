/** Runs the command line and small programs as a user would: built JavaScript in a process of its own. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { root } from './engine.js';

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Sent once `when` appears on stdout or stderr. */
  kill?: { signal: NodeJS.Signals; when: RegExp } | { signal: NodeJS.Signals; afterMs: number };
  timeoutMs?: number;
}

export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { cwd = root, env = {}, kill, timeoutMs = 120_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const out = { stdout: '', stderr: '' };
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let sent = false;
    const send = (signal: NodeJS.Signals) => {
      if (!sent) child.kill(signal);
      sent = true;
    };
    if (kill && 'afterMs' in kill) setTimeout(() => send(kill.signal), kill.afterMs);
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        out[name] += chunk;
        if (kill && 'when' in kill && kill.when.test(out[name])) send(kill.signal);
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...out });
    });
  });
}

export const paella = (args: readonly string[], options?: RunOptions): Promise<Outcome> =>
  run(process.execPath, [path.join(root, 'dist/esm/cli/main.js'), ...args], options);

/** `code` is a module that may `import … from 'paella-native'`. */
export const program = (code: string, options?: RunOptions): Promise<Outcome> =>
  run(process.execPath, ['--input-type=module', '--eval', code], options);
