/** One engine and its clients, for load-generator.ts: in the process itself, or as a worker of it. */
import { setMaxListeners } from 'node:events';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { describe, stageMedians } from '../../lib/cli/bench/session.js';
import { numbered } from '../../lib/cli/bench/settings.js';
import { round } from '../../lib/cli/bench/statistics.js';
import { type GenerateOptions, type LoadOptions, Paella, type StageTimings } from '../../lib/index.js';
import { loadDefaults } from '../../lib/options/load-options.js';

export interface LoadTask {
  load: LoadOptions;
  generate: GenerateOptions;
  prompt: string;
  clients: number;
  seconds: number;
  warmup: number;
  seed: number;
  command: string;
}

export interface LoadOutcome {
  /** Milliseconds of each call, in the order of their ends. */
  samples: number[];
  /** From the common start to the last end. */
  seconds: number;
  firstMs: number;
  loadMs: number;
  row: ReturnType<typeof describe>;
  stages: Record<string, number>;
  peakBytes: number;
  batches: number;
}

/** @param ready called when warm; the clients start when it is done, all workers together */
export async function runClients(
  task: LoadTask,
  ready: () => Promise<void>,
  signal?: AbortSignal,
): Promise<LoadOutcome> {
  const loading = performance.now();
  const maxQueue = Math.max(loadDefaults.maxQueue, task.clients);
  await using engine = await Paella.load({ ...task.load, maxQueue, signal });
  const loadMs = performance.now() - loading;
  let number = 0;
  let parameters: GenerateOptions = {};
  const call = async () => {
    const start = performance.now();
    const seed = task.seed + number;
    const images = await engine.generate({ ...task.generate, prompt: numbered(task.prompt, number++), seed, signal });
    parameters = images[0]?.parameters ?? {};
    return { ms: performance.now() - start, timings: images[0]?.timings };
  };
  const firstMs = (await call()).ms;
  for (let i = 1; i < task.warmup; i++) await Promise.all(Array.from({ length: task.clients }, call));
  const before = engine.stats().batches;
  await ready();
  const start = performance.now();
  const samples: number[] = [];
  const timings: StageTimings[] = [];
  let end = start;
  // A closed loop: a client asks again when it has its answer.
  const client = async () => {
    while (performance.now() - start < task.seconds * 1000 && !signal?.aborted) {
      const { ms, timings: told } = await call();
      end = performance.now();
      samples.push(round(ms));
      if (told) timings.push(told);
    }
  };
  const clients = await Promise.allSettled(Array.from({ length: task.clients }, client));
  const failed = clients.find((outcome) => outcome.status === 'rejected');
  if (failed && !signal?.aborted) throw failed.reason;
  const { model, backend, device, precision } = engine;
  const { load, generate, prompt, seed, command } = task;
  const configuration = { load, generate, prompt, fresh: true, seed, command };
  return {
    samples,
    seconds: (end - start) / 1000,
    ...{ firstMs, loadMs },
    row: describe({ model: model.name, backend, device, precision }, configuration, parameters),
    stages: stageMedians(timings),
    peakBytes: engine.stats().memory.peak,
    batches: engine.stats().batches - before,
  };
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // one for each call in flight
  let start: (() => void) | undefined;
  const started = new Promise<void>((resolve) => {
    start = resolve;
  });
  port.on('message', (message: 'start' | 'stop') => {
    if (message === 'stop') controller.abort(new Error('interrupted'));
    start?.();
  });
  const ready = () => {
    port.postMessage({ ready: true });
    return started;
  };
  try {
    port.postMessage({ outcome: await runClients(workerData as LoadTask, ready, controller.signal) });
  } catch (error) {
    port.postMessage({ error: (error as Error).message });
  }
  port.close();
}
