/** What the throughput scripts share: options of the engine, numbers that are checked, Ctrl-C, a line of progress. */
import { setMaxListeners } from 'node:events';
import { quoted } from '../../lib/cli/bench/settings.js';
import type { LoadOptions } from '../../lib/options/load-options.js';

export const engineOptions = {
  model: { type: 'string', default: 'tiny' },
  backend: { type: 'string' },
  devices: { type: 'string' },
  precision: { type: 'string' },
  threads: { type: 'string' },
  'max-batch': { type: 'string', default: '8' },
  width: { type: 'string' },
  height: { type: 'string' },
  steps: { type: 'string' },
} as const;

type Given = { [name in keyof typeof engineOptions]?: string | undefined };

/** Throws where the text is no such integer. */
export function integer(name: string, text: string, least = 1): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < least)
    throw new Error(`--${name}: expected an integer, at least ${least}, got ${text}`);
  return number;
}

const numbers = <T extends string>(given: Record<T, string | undefined>): { [name in T]?: number } =>
  Object.fromEntries(
    Object.entries<string | undefined>(given).flatMap(([name, text]) =>
      text === undefined ? [] : [[name, integer(name, text)]],
    ),
  ) as { [name in T]?: number };

export function loadOptions({
  model,
  backend,
  devices,
  precision,
  threads,
  'max-batch': maxBatch,
}: Given): LoadOptions {
  return {
    model,
    backend: backend as LoadOptions['backend'],
    precision: precision as LoadOptions['precision'],
    ...(devices === undefined
      ? {}
      : {
          devices: devices === 'all' ? ('all' as const) : devices.split(',').map((each) => integer('devices', each, 0)),
        }),
    ...numbers({ threads, maxBatch }),
  };
}

export const sizeOptions = ({ width, height, steps }: Given) =>
  numbers({ width, height: height ?? width, steps }) as { width?: number; height?: number; steps?: number };

/** What reproduces a result: the script of package.json with the options that were given. */
export function commandLine(script: string): string {
  const words = process.argv.slice(2).map(quoted);
  return [`npm run ${script}`, ...(words.length > 0 ? ['--', ...words] : [])].join(' ');
}

/** Aborted by Ctrl-C and SIGTERM; the second time ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // one for each call in flight
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new Error('interrupted'));
    });
  return controller.signal;
}

/** One line that is written over on a terminal; elsewhere a line now and then. */
export class Ticker {
  readonly #terminal = process.stderr.isTTY === true;
  #last = 0;

  show(text: string, everyMs = this.#terminal ? 100 : 10_000): void {
    const now = performance.now();
    if (now - this.#last < everyMs) return;
    this.#last = now;
    process.stderr.write(this.#terminal ? `\r\x1b[2K${text}` : `${text}\n`);
  }

  end(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[2K');
  }
}
