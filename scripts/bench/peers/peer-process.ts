/** A peer as a child process. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import {
  type Farewell,
  farewellSchema,
  type Hello,
  helloSchema,
  type Measurement,
  measurementSchema,
  type RunRequest,
} from './protocol.js';

const failure = z.strictObject({ error: z.string() });

/** USER_HZ, which is 100 on every Linux that Node.js runs on. */
const millisecondsOfTick = 10;

export class PeerProcess {
  readonly command: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  /** @param command as a shell takes it; run in `folder` */
  constructor(command: string, folder: string) {
    this.command = command;
    // A process group of its own: Ctrl-C reaches the driver only, which keeps what was measured.
    const args = ['-c', `exec ${command} --worker`];
    this.#child = spawn('sh', args, { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    this.#child.stdin.on('error', () => {}); // a peer that is gone shows as the end of its lines
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** After loading. */
  hello(): Promise<Hello> {
    return this.#answer(helloSchema);
  }

  run(request: RunRequest): Promise<Measurement> {
    this.#say(request);
    return this.#answer(measurementSchema);
  }

  async end(): Promise<Farewell> {
    this.#say({ end: true });
    const farewell = await this.#answer(farewellSchema);
    this.#child.stdin.end();
    return farewell;
  }

  /** Milliseconds of CPU that the process has used, all threads; undefined where the system does not tell. */
  cpuMs(): number | undefined {
    try {
      // After the name in parentheses, which may hold anything: utime and stime are fields 14 and 15 (proc(5)).
      const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      return (Number(fields[11]) + Number(fields[12])) * millisecondsOfTick;
    } catch {
      return undefined;
    }
  }

  /** Until the process is gone. */
  async kill(): Promise<void> {
    if (this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {} // it ended by itself just now
    await gone;
  }

  #say(message: object): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  async #answer<T extends z.ZodType>(schema: T): Promise<z.output<T>> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.command}: ended without an answer`);
    let parsed: unknown;
    try {
      parsed = JSON.parse(value);
    } catch {
      throw new Error(`${this.command}: expected a line of JSON, got ${value.slice(0, 200)}`);
    }
    const failed = failure.safeParse(parsed);
    if (failed.success) throw new Error(`${this.command}: ${failed.data.error}`);
    const result = schema.safeParse(parsed);
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    throw new Error(`${this.command}: ${issue?.path.join('.')}: ${issue?.message}, got ${value.slice(0, 200)}`);
  }
}
