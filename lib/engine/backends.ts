/** Which backends there are, and which one an engine gets. */
import { PaellaError } from '../errors.js';
import type { NativeBackendInfo } from '../native/contract.js';
import { loadNative } from '../native/loader.js';
import type { BackendName, ResolvedLoadOptions } from '../options/load-options.js';
import { invalidOption } from '../options/validate.js';
import { listEngines } from './engine-cache.js';
import type { BackendInfo, EngineWarning } from './types.js';

/** Best first. */
const preference: readonly BackendName[] = ['tensorrt', 'cuda', 'cpu'];

/** Every backend, with the reason where it cannot be used here. Throws `ERR_ADDON`. */
export async function backends(): Promise<BackendInfo[]> {
  const known = await loadNative().backends();
  return preference
    .map((name) => known.find((info) => info.name === name) ?? missing(name))
    .map(({ unexpected: _, ...info }) => info)
    .reverse();
}

/** Asks for one only: nobody who wants the CPU waits for a GPU's driver. */
async function describe(name: BackendName): Promise<NativeBackendInfo> {
  const known = await loadNative().backends([name]);
  return known.find((info) => info.name === name) ?? missing(name);
}

function missing(name: BackendName): NativeBackendInfo {
  return {
    name,
    available: false,
    reason: `this version of paella-native has no ${name} backend yet`,
    unexpected: false,
    devices: [],
    precisions: [],
    details: {},
  };
}

export interface BackendChoice {
  backend: BackendName;
  devices: number[];
  warnings: EngineWarning[];
}

/** Throws `ERR_BACKEND_UNAVAILABLE`, or `ERR_INVALID_OPTION` for a precision or device that the backend lacks. */
export async function chooseBackend(options: ResolvedLoadOptions): Promise<BackendChoice> {
  const { info, warnings } =
    options.backend === 'auto' ? await firstAvailable(options) : { info: await named(options.backend), warnings: [] };
  if (options.precision !== 'auto' && !info.precisions.includes(options.precision)) {
    throw invalidOption(
      'precision',
      `one of auto, ${info.precisions.join(', ')} with backend ${info.name}`,
      options.precision,
    );
  }
  const count = Math.max(1, info.devices.length);
  const devices = options.devices === 'all' ? [...Array(count).keys()] : [...options.devices];
  for (const device of devices) {
    if (device >= count) {
      throw invalidOption('device', `a number below ${count} (backend ${info.name} has ${count})`, device);
    }
  }
  return { backend: info.name, devices, warnings };
}

const reasonOf = (info: NativeBackendInfo) => info.reason ?? 'no reason given';

async function named(name: BackendName): Promise<NativeBackendInfo> {
  const info = await describe(name);
  if (info.available) return info;
  throw new PaellaError('ERR_BACKEND_UNAVAILABLE', `backend ${name} is unavailable: ${reasonOf(info)}`, {
    remedy: info.remedy ?? "use backend 'auto' or 'cpu', or run `paella doctor`",
  });
}

/** Building them takes minutes, which nobody asked for who said 'auto'. */
async function hasEngines({ devices }: NativeBackendInfo, options: ResolvedLoadOptions): Promise<boolean> {
  const used = devices.filter((_, i) => options.devices === 'all' || options.devices.includes(i));
  const built = (await listEngines().catch(() => [])).filter(
    ({ network, problem, precision }) =>
      network === 'unet' && problem === undefined && (options.precision === 'auto' || options.precision === precision),
  );
  return (
    used.length > 0 && used.every((gpu) => built.some((engine) => engine.computeCapability === gpu.computeCapability))
  );
}

async function firstAvailable(
  options: ResolvedLoadOptions,
): Promise<{ info: NativeBackendInfo; warnings: EngineWarning[] }> {
  const warnings: EngineWarning[] = [];
  const reasons: string[] = [];
  for (const name of preference) {
    const info = await describe(name);
    if (info.available && name === 'tensorrt' && !(await hasEngines(info, options))) {
      reasons.push('tensorrt: no engines were built for this GPU and precision (`paella engine build`)');
      continue;
    }
    if (info.available) return { info, warnings };
    reasons.push(`${name}: ${reasonOf(info)}`);
    // Without a plug-in or a GPU nobody expects the backend; with them, the user wants to know.
    if (info.unexpected) {
      const message = [`backend ${name} is unavailable: ${reasonOf(info)}`, info.remedy].filter(Boolean).join('. ');
      warnings.push({ code: 'BACKEND_FALLBACK', message });
    }
  }
  throw new PaellaError('ERR_BACKEND_UNAVAILABLE', `no backend is available (${reasons.reverse().join('; ')})`, {
    remedy: 'run `paella doctor`',
  });
}
