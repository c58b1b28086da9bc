/** One call at a time, of this process and of others: two would write into the same unfinished file. */
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ioError } from './errors.js';

/** A lock that nobody refreshed for so long is of a process that is gone. */
const STALE_MS = 60_000;
const REFRESH_MS = 10_000;
const POLL_MS = 200;

/** Calls `work` while holding `file`, which nobody else here does at the same time. Throws `ERR_IO`. */
export async function withLock<T>(file: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  await acquire(file, signal);
  const refresh = setInterval(() => {
    utimes(file, new Date(), new Date()).catch(() => undefined);
  }, REFRESH_MS);
  refresh.unref();
  try {
    return await work();
  } finally {
    clearInterval(refresh);
    await rm(file, { force: true }).catch(() => undefined);
  }
}

async function acquire(file: string, signal: AbortSignal | undefined): Promise<void> {
  const owner = `${hostname()} ${process.pid}`;
  for (;;) {
    signal?.throwIfAborted();
    try {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, owner, { flag: 'wx' });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw ioError('written', file, error);
    }
    if (await isAbandoned(file)) await rm(file, { force: true });
    else await sleep(POLL_MS, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }
}

async function isAbandoned(file: string): Promise<boolean> {
  try {
    const [host, pid] = (await readFile(file, 'utf8')).split(' ');
    if (host === hostname() && Number(pid) > 0 && Number(pid) !== process.pid && !isAlive(Number(pid))) return true;
    return Date.now() - (await stat(file)).mtimeMs > STALE_MS;
  } catch {
    return false; // it has just been given up
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
